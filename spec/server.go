package spec

import "net/netip"

// Mode says which children a server starts when it starts.
type Mode string

const (
	// Quiet starts none. It is the default.
	Quiet Mode = "quiet"
	// Half starts those that `startup` lists, in its order.
	Half Mode = "half"
	// Full starts every child file in the load paths.
	Full Mode = "full"
)

// OnExit says what a server does with its children when SIGTERM or SIGINT ends
// it.
type OnExit string

const (
	// Leave lets them live on.
	Leave OnExit = "leave"
	// StopChildren stops them within their grace.
	StopChildren OnExit = "stop"
)

// DefaultPort is the TCP port of supervisor-rs and kita.
const DefaultPort = 33889

// Server is server.yml: parsed, defaulted, validated and frozen.
type Server struct {
	// File is the path of server.yml, absolute; empty when none was found and
	// the defaults are used.
	File string `json:"file"`
	// LoadPaths are the directories of child files, as written.
	LoadPaths []string `json:"loadpaths"`
	Mode      Mode     `json:"mode"`
	// Startup is read in half mode only.
	Startup []string `json:"startup,omitempty"`
	// Encrypt: nothing but SSH is served over TCP.
	Encrypt bool `json:"encrypt"`
	// PubKeysPath are directories of public keys.
	PubKeysPath []string `json:"pub_keys_path,omitempty"`
	// LegacyKeysPath are directories of public keys, as written, with which the
	// replayable packets of supervisor-rs are accepted; a key must also lie in
	// PubKeysPath.
	LegacyKeysPath []string `json:"legacy_keys_path,omitempty"`
	// Access says what each key may do; nil means everything.
	Access Access `json:"access,omitzero"`
	// AuditLog is the absolute path of the audit log; empty means none.
	AuditLog string `json:"audit_log,omitempty"`
	// Listen is the address and port to serve: listener_addr, or "::" with
	// ipv6 and "0.0.0.0" without; port, or DefaultPort.
	Listen netip.AddrPort `json:"listen"`
	// MetricsAddr is a host:port that serves only /metrics and /v1/sd; empty means none.
	MetricsAddr string `json:"metrics_addr,omitempty"`
	// StateDir and RunDir are absolute; empty means the default of the user.
	StateDir string `json:"state_dir,omitempty"`
	RunDir   string `json:"run_dir,omitempty"`
	// OnExit says what becomes of the children when the server is ended by a
	// signal. Empty is Leave, but StopChildren where kita is PID 1.
	OnExit OnExit `json:"on_exit,omitempty"`
	// ExitWith is a child with which the server ends: when it ended by itself
	// and is not started again. Empty means none.
	ExitWith string `json:"exit_with,omitempty"`
	// DiskBudget is the most bytes that the files under rotation and their
	// archives may take on disk, all together; 0 means any amount.
	DiskBudget uint64 `json:"disk_budget,omitempty"`
	// Defaults is the `defaults` mapping, in force for every child field that
	// a child's file does not set, and output_dir; nil when there is neither.
	Defaults *Defaults `json:"-"`
}
