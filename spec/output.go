package spec

import "time"

// Format is how a pumped stream is written.
type Format string

const (
	// Text is the program's lines as they are, each after what Timestamps and
	// Prefix ask for.
	Text Format = "text"
	// JSON is one object a line.
	JSON Format = "json"
)

// OnFull says what a pump does when the file cannot take what the program
// writes: the disk is too slow, or full.
type OnFull string

const (
	// Drop leaves whole lines out, counts them and says so in the file. It is
	// the default.
	Drop OnFull = "drop"
	// Block has the program wait.
	Block OnFull = "block"
)

// Compression is how an archive is packed.
type Compression string

const (
	Zstd          Compression = "zstd"
	Gzip          Compression = "gzip"
	NoCompression Compression = "none"
)

// Rotate says when the head of an output file becomes an archive, and which
// archives are kept.
type Rotate struct {
	// Size is how many bytes the file holds before its head becomes an archive
	// of about that size. Default 100 MB; at least 4 KiB.
	Size uint64 `json:"size"`
	// Every rotates what there is so long after the last time; 0 does not.
	Every Duration `json:"every,omitempty"`
	// Keep is the most archives that are kept, default 5; 0 keeps none.
	Keep int `json:"keep"`
	// MaxAge is how old an archive may get; 0 means any age.
	MaxAge Duration `json:"max_age,omitempty"`
	// Compress is how archives are packed, default Zstd.
	Compress Compression `json:"compress"`
}

// StreamName is one of a process's two output streams.
type StreamName string

const (
	Out StreamName = "out"
	Err StreamName = "err"
)

// Output is the file that a run was given for some of its streams. It is saved
// with the run, so that the next server finds the file the process writes to.
type Output struct {
	// Streams are those that share the file, Out first.
	Streams []StreamName `json:"streams"`
	// Path is absolute.
	Path string `json:"path"`
	// Dev and Inode say which file was opened there. They are 0 where that is no
	// regular file: nothing can be read of /dev/null, say.
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
	// Base is the position in the stream of the file's first byte, and Start
	// that at which the run began. A position counts the bytes ever written; it
	// stays what it is when the file is rotated.
	Base  uint64 `json:"base,omitempty"`
	Start uint64 `json:"start,omitempty"`
	// FIFOs are those from which a pump takes what is written, by stream; nil
	// where the process writes to the file itself.
	FIFOs map[StreamName]string `json:"fifos,omitempty"`
	// UID and GID are whose file it is; nil means the server's own.
	UID *uint32 `json:"uid,omitempty"`
	GID *uint32 `json:"gid,omitempty"`
}

// LastLines are the last that a run wrote before it failed.
type LastLines struct {
	Incarnation uint64 `json:"incarnation"`
	// Stream is empty where both share the file and nothing tells them apart.
	Stream StreamName `json:"stream,omitempty"`
	// Lines are at most 20, the latest last, each cut to 1 KiB of valid UTF-8.
	Lines []string `json:"lines"`
}

// OutputFile is an output file of a child, as shown.
type OutputFile struct {
	Streams []StreamName `json:"streams"`
	// Path is absolute.
	Path string `json:"path"`
	// Size is what the file holds that is in no archive, in bytes.
	Size uint64 `json:"size"`
	// Written is how many bytes were ever written, Rotations how many archives
	// were made of them.
	Written   uint64 `json:"written"`
	Rotations uint64 `json:"rotations"`
	// Dropped are the lines that a pump had to leave out.
	Dropped uint64 `json:"dropped,omitempty"`
	// Fault is what is wrong with the file, in one line; empty when nothing is.
	Fault string `json:"fault,omitempty"`
	// Archives are oldest first.
	Archives []Archive `json:"archives,omitempty"`
}

// Archive is what was cut off the head of an output file. Who may not read the child
// is told only At.
type Archive struct {
	Path string `json:"path,omitempty"`
	// Size is that of the file on disk, Bytes that of its content; neither is ever 0.
	Size  uint64 `json:"size,omitempty"`
	Bytes uint64 `json:"bytes,omitempty"`
	// At is when it was made.
	At time.Time `json:"at"`
}

// LogRequest asks for the output of children.
type LogRequest struct {
	// Children are names, or All alone.
	Children []string `json:"children"`
	// Follow goes on with what is written from now on, until the reader leaves.
	Follow bool `json:"follow,omitempty"`
	// Tail is how many of the last lines of each file to begin with; nil means all.
	Tail *int `json:"tail,omitempty"`
	// Since leaves out what was written before; zero means nothing is left out.
	// Age is the same in terms of the server's clock; at most one is set.
	Since time.Time `json:"since,omitzero"`
	Age   Duration  `json:"age,omitempty"`
	// Grep is a regular expression (RE2) that a line has to match; empty: any.
	Grep string `json:"grep,omitempty"`
	// Stream leaves the other stream out; empty means both. A file that both
	// share is in either.
	Stream StreamName `json:"stream,omitempty"`
	// After has, for files that were read before, the Next of the last chunk
	// that arrived, by its Source: reading goes on there, and Tail, Since and Age
	// say nothing about them.
	After map[string]string `json:"after,omitempty"`
}

// LogChunk is a piece of a child's output.
type LogChunk struct {
	Child string `json:"child,omitempty"`
	// Stream is empty where both streams share the file and nothing tells them
	// apart.
	Stream StreamName `json:"stream,omitempty"`
	// Source names the file among those of the request, Next the place where to
	// go on after this chunk; both are the server's own business.
	Source string `json:"source,omitempty"`
	Next   string `json:"next,omitempty"`
	// Time is when it was written: where a pump stamped it to the line, else
	// when it was noticed. Zero where nothing tells.
	Time time.Time `json:"time,omitzero"`
	// Text is whole lines, each with its line end; Bytes are the same where they
	// are not valid UTF-8. At most 64 KiB.
	Text  string `json:"text,omitempty"`
	Bytes []byte `json:"bytes,omitempty"`
	// Partial: the last line has no line end yet, or is longer than a chunk and
	// goes on in the next one of this Source.
	Partial bool `json:"partial,omitempty"`
	// Lost is how many bytes before this chunk were removed before they were
	// read, because archives are kept for so long only.
	Lost uint64 `json:"lost,omitempty"`
	// CaughtUp: all that there was has been sent; what follows is new.
	CaughtUp bool `json:"caught_up,omitempty"`
}
