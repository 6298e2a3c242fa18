package output

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// sample record of all fields.
func fullRecord() record {
	return record{
		Path: "/var/log/web.log", Owner: &Owner{UID: 7, GID: 8}, Key: Key{Dev: 1, Inode: 2}, Born: 3,
		Base: 4096, Head: 5000, Freed: 900, Boot: "b", Collapsing: 4096, Making: 3, Next: 4, LastCut: at, Rotations: 2,
		Archives: []archive{
			{Seq: 1, Name: "web.log.000001.zst", Start: 0, End: 3000, Size: 100, At: at, Part: true},
			{Seq: 2, Name: "web.log.000002", Start: 3000, End: 5000, Size: 2000, At: at},
		},
	}
}

func TestRecordIsReadAsItWasSaved(t *testing.T) {
	dir := recordDir(t.TempDir())
	want := fullRecord()
	if _, err := dir.save(&want); err != nil {
		t.Fatal(err)
	}
	got, err := dir.load(want.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	all, err := dir.all()
	if err != nil || len(all) != 1 || !reflect.DeepEqual(all[0], want) {
		t.Errorf("all are %+v, %v", all, err)
	}
	if got, err := dir.load("/var/log/other.log"); got != nil || err != nil {
		t.Errorf("the record of another file is %+v, %v", got, err)
	}
}

func TestRecordsThatCannotBeAreRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(*record)
		want   string
	}{
		{"a relative path", func(r *record) { r.Path = "web.log" }, `the path "web.log" is not absolute`},
		{"a head before the base", func(r *record) { r.Head = 1 }, "the head 1 lies before the base 4096"},
		{"more freed than there is", func(r *record) { r.Freed = 905 }, "905 bytes are freed of 904 before the head"},
		{"no next number", func(r *record) { r.Next = 0 }, "no number for the next archive"},
		{"a name elsewhere", func(r *record) { r.Archives[0].Name = "../web.log.000001" }, "is no name for archive 1"},
		{"a name of another number", func(r *record) { r.Archives[0].Name = "web.log.000009" }, "is no name for archive 1"},
		{"a name of no archive", func(r *record) { r.Archives[0].Name = "shadow" }, "is no name for archive 1"},
		{"an archive to come", func(r *record) { r.Next = 2 }, "archive 2 is not before the next, 2"},
		{"archives that overlap", func(r *record) { r.Archives[1].Start = 2999 }, "archive 2 is of the positions 2999 to 5000"},
		{"an archive beyond the head", func(r *record) { r.Archives[1].End = 5001 }, "archive 2 is of the positions 3000 to 5001"},
		{"an empty archive", func(r *record) { r.Archives[1].End = 3000 }, "archive 2 is of the positions 3000 to 3000"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := fullRecord()
			test.change(&r)
			text, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parseRecord(text); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %s", err, test.want)
			}
		})
	}
}

func TestDamagedRecordIsSetAside(t *testing.T) {
	dir := recordDir(t.TempDir())
	name := dir.stem("/web.log") + recordEnding
	if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.load("/web.log"); err == nil || !strings.Contains(err.Error(), filepath.Base(name)+" is damaged") {
		t.Errorf("the error is %v", err)
	}
	if got, err := dir.load("/web.log"); got != nil || err != nil {
		t.Errorf("then it is %v, %v", got, err)
	}
}

func TestArchiveNames(t *testing.T) {
	tests := []struct {
		name string
		seq  uint64
		ok   bool
	}{
		{"web.log.000001", 1, true},
		{"web.log.000012.zst", 12, true},
		{"web.log.000012.gz", 12, true},
		{"web.log.1234567", 1_234_567, true},
		{"web.log.000012.xz", 0, false},
		{"web.log.12", 0, false},
		{"web.log.0000012", 0, false},
		{"web.log.-00012", 0, false},
		{".000012", 0, false},
		{"000012", 0, false},
		{"web.log", 0, false},
		{"", 0, false},
	}
	for _, test := range tests {
		if seq, ok := archiveSeq(test.name); ok != test.ok || ok && seq != test.seq {
			t.Errorf("%q is archive %d, %v", test.name, seq, ok)
		}
	}
}

func FuzzRecord(f *testing.F) {
	text, err := json.Marshal(fullRecord())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"path":"/a","next":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRecord(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Skip("a year that JSON has no form for")
		}
		if _, err := parseRecord(again); err != nil {
			t.Errorf("%s is taken and %s is not: %v", text, again, err)
		}
		for _, a := range r.Archives {
			if filepath.Base(a.Name) != a.Name {
				t.Errorf("archive %q is in another directory", a.Name)
			}
		}
	})
}
