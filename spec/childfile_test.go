package spec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func parse(t testing.TB, text string) *Child {
	t.Helper()
	c, err := ParseChild("/lp", "/lp/web.yml", []byte(text), nil)
	if err != nil {
		t.Fatalf("%s\nrefused: %v", text, err)
	}
	return c
}

func ptr[T any](v T) *T { return &v }

func TestParseChild(t *testing.T) {
	second := Duration(time.Second)
	tests := []struct {
		name, text string
		want       func(*Child)
	}{
		{"only a command", "command: ./run", func(*Child) {}},
		{"the example of supervisor-rs", `
command: ./server --port 80
output:
  - stdout: out.log
    mode: create
  - stderr: /var/log/err.log
    mode: append
repeat:
  action: restart
  seconds: 5
hooks:
  - prehook: start db
  - posthook: start cleanup
`, func(c *Child) {
			c.CommandLine, c.Command = "./server --port 80", []string{"./server", "--port", "80"}
			c.Stdout, c.Stderr = &Stream{Path: "out.log", Mode: Create}, &Stream{Path: "/var/log/err.log", Mode: Append}
			c.Repeat = &Repeat{VerbRestart, 5 * second}
			c.Prehook, c.Posthook = &Hook{VerbStart, "db"}, &Hook{VerbStart, "cleanup"}
		}},
		{"list taken as is", `command: [./run, a | b, 80, "", on, "x y"]`, func(c *Child) {
			c.Command = []string{"./run", "a | b", "80", "", "on", "x y"}
			c.CommandLine = "./run 'a | b' 80 '' on 'x y'"
		}},
		{"args", "command: ./run a\nargs: [b, 022, null, ~, 1e3]", func(c *Child) {
			c.CommandLine, c.Command = "./run a", []string{"./run", "a", "b", "022", "null", "~", "1e3"}
		}},
		{"folded text", "command: >\n  ./run\n  a\n", func(c *Child) {
			c.CommandLine, c.Command = "./run a", []string{"./run", "a"}
		}},
		{"env as a mapping", "command: ./run\nenv: {B: 2, A: on, C: '', D: \"x=y\"}", func(c *Child) {
			c.Env = []EnvVar{{"A", "on"}, {"B", "2"}, {"C", ""}, {"D", "x=y"}}
		}},
		{"env as a list", "command: ./run\nenv: [B=2, A=, C=x=y]", func(c *Child) {
			c.Env = []EnvVar{{"A", ""}, {"B", "2"}, {"C", "x=y"}}
		}},
		{"relative paths", "command: ./run\ndir: sub\nenv_file: web.env", func(c *Child) {
			c.Dir, c.EnvFile = "/lp/sub", "/lp/web.env"
		}},
		{"absolute paths", "command: ./run\ndir: /srv/../web\nenv_file: /etc/web.env", func(c *Child) {
			c.Dir, c.EnvFile = "/web", "/etc/web.env"
		}},
		{"accounts", "command: ./run\nuser: www-data\ngroup: 33", func(c *Child) { c.User, c.Group = "www-data", "33" }},
		{"umask 022", "command: ./run\numask: 022", func(c *Child) { c.Umask = ptr[uint32](0o22) }},
		{"umask quoted", "command: ./run\numask: \"0077\"", func(c *Child) { c.Umask = ptr[uint32](0o77) }},
		{"umask 0o27", "command: ./run\numask: 0o27", func(c *Child) { c.Umask = ptr[uint32](0o27) }},
		{"umask 0", "command: ./run\numask: 0", func(c *Child) { c.Umask = ptr[uint32](0) }},
		{"nice", "command: ./run\nnice: -5", func(c *Child) { c.Nice = ptr(-5) }},
		{"limits", "command: ./run\nlimits: {nofile: 65536, core: unlimited, as: 64MiB, data: 64MB, stack: 8 KiB, cpu_time: {soft: 1, hard: unlimited}}", func(c *Child) {
			c.Limits = []Limit{{"as", 64 << 20, 64 << 20}, {"core", Unlimited, Unlimited}, {"cpu_time", 1, Unlimited},
				{"data", 64e6, 64e6}, {"nofile", 65536, 65536}, {"stack", 8 << 10, 8 << 10}}
		}},
		{"resources", "command: ./run\nlimits: {memory: 64 MiB, cpu: 1.5, tasks: 20, nofile: 7}", func(c *Child) {
			c.Resources, c.Limits = Resources{Memory: 64 << 20, MilliCPU: 1500, Tasks: 20}, []Limit{{"nofile", 7, 7}}
		}},
		{"resources at their ends", "command: ./run\nlimits: {memory: 1MiB, cpu: 0.001, tasks: 1}", func(c *Child) {
			c.Resources = Resources{Memory: 1 << 20, MilliCPU: 1, Tasks: 1}
		}},
		{"many processors", "command: ./run\nlimits: {cpu: 8192}", func(c *Child) { c.Resources.MilliCPU = 8192_000 }},
		{"unlimited resources", "command: ./run\nlimits: {memory: unlimited, cpu: unlimited, tasks: unlimited}", func(*Child) {}},
		{"stop", "command: ./run\nstop: {signal: int, grace: 1m}", func(c *Child) { c.Stop = Stop{2, 60 * second} }},
		{"days", "command: ./run\nstop: {grace: 1d12h}", func(c *Child) { c.Stop.Grace = 36 * 3600 * second }},
		{"the longest time", "command: ./run\nstop: {grace: 3650d}", func(c *Child) { c.Stop.Grace = longest }},
		{"killed at once", "command: ./run\nstop: {grace: 0s}", func(c *Child) { c.Stop.Grace = 0 }},
		{"restart in a word", "command: ./run\nrestart: always", func(c *Child) { c.Restart.Policy = Always }},
		{"restart in full", "command: ./run\nrestart: {policy: on-failure, backoff: {initial: 1s, max: 10s, factor: 1.5}, limit: {starts: 5, within: 1m}, success: [TERM, 3, 2, 3]}", func(c *Child) {
			c.Restart = Restart{OnFailure, Backoff{second, 10 * second, 1.5}, StartLimit{5, 60 * second},
				[]ExitClass{{Code: 2}, {Code: 3}, {Signal: 15}}}
		}},
		{"repeat's action is restart", "command: ./run\nrepeat: {seconds: 5}", func(c *Child) { c.Repeat = &Repeat{VerbRestart, 5 * second} }},
		{"verbs in any spelling", "command: ./run\nrepeat: {seconds: 5, action: TryStart}\nhooks: [{prehook: Stop db}]", func(c *Child) {
			c.Repeat, c.Prehook = &Repeat{VerbTrystart, 5 * second}, &Hook{VerbStop, "db"}
		}},
		{"output's mode is create", "command: ./run\noutput: [{stderr: /dev/null}]", func(c *Child) { c.Stderr = &Stream{Path: "/dev/null", Mode: Create} }},
		{"metrics", "command: ./run\nmetrics: {port: 9100, path: /m/x}", func(c *Child) { c.Metrics = &Metrics{9100, "/m/x"} }},
		{"metrics by port alone", "command: ./run\nmetrics: {port: \"80\"}", func(c *Child) { c.Metrics = &Metrics{80, "/metrics"} }},
		{"empty lists and mappings", "command: ./run\noutput: []\nhooks: []\nenv: {}\nargs: []\nlimits: {}\nstop: {}\nrestart: {}", func(*Child) {}},
		{"an anchor used twice", "command: ./run\nstop: {grace: &g 7s}\nrestart: {backoff: {initial: *g}}", func(c *Child) {
			c.Stop.Grace, c.Restart.Backoff.Initial = 7*second, 7*second
		}},
		{"byte order mark and CRLF", "\ufeffcommand: ./run\r\nnice: 3\r\n", func(c *Child) { c.Nice = ptr(3) }},
		{"end mark", "---\ncommand: ./run\n...\n", func(*Child) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := &Child{
				Name: "web", File: "/lp/web.yml", LoadPath: "/lp",
				CommandLine: "./run", Command: []string{"./run"}, Dir: "/lp",
				Stop: Stop{15, 10 * second},
				Restart: Restart{Policy: Never,
					Backoff: Backoff{Duration(500 * time.Millisecond), 30 * second, 2}},
			}
			tt.want(want)
			got := parse(t, tt.text)
			if got.Hash == "" || got.Hash != digest(*got) {
				t.Errorf("hash %q", got.Hash)
			}
			got.Hash = ""
			if len(got.Env)+len(got.Limits) == 0 {
				got.Env, got.Limits = nil, nil
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestParseChildErrors(t *testing.T) {
	const ok = "command: ./run\n"
	tests := []struct{ name, text, want string }{
		{"empty file", "", "1: command: is missing, write command: ./server --port 80"},
		{"only a comment", "# nothing\n", "1: command: is missing, write command: ./server --port 80"},
		{"list", "- a\n", "1: yaml: the file is a list, write lines of KEY: VALUE, as in command: ./server --port 80"},
		{"text", "\nhello\n", "2: yaml: the file is text, write lines of KEY: VALUE, as in command: ./server --port 80"},
		{"two documents", ok + "---\n" + ok, "2: yaml: a second document starts here, write one document a file"},
		{"two documents, the second broken", ok + "---\na: [\n", "3: yaml: did not find expected node content, correct the indentation or the quotes here"},
		{"unknown key", ok + "comand: x\n", "2: comand: unknown key, did you mean command?"},
		{"unknown key, other case", ok + "Output: []\n", "2: Output: unknown key, did you mean output?"},
		{"unknown key, like no other", ok + "zzzzzzzz: x\n", "2: zzzzzzzz: unknown key, write one of command, args, dir, env, env_file, output, output_dir, rotate, user, group, umask, nice, limits, stop, restart, repeat, hooks, metrics"},
		{"unknown key below", ok + "stop:\n  singal: INT\n", "3: stop.singal: unknown key, did you mean signal?"},
		{"key given twice", ok + "nice: 1\nnice: 2\n", "3: nice: is given twice, first in line 2, leave one out"},
		{"key given twice below", ok + "stop: {grace: 1s, grace: 2s}\n", "2: stop.grace: is given twice, first in line 2, leave one out"},
		{"merge key", ok + "stop: &s {grace: 1s}\n<<: *s\n", "3: <<: merge keys are not read, write the keys out"},
		{"list as a key", ok + "? [a]\n: b\n", "2: yaml: a list stands where a key belongs, write KEY: VALUE"},
		{"directive", "%YAML 1.1\n---\n" + ok, "1: yaml: YAML directives are not read, remove the line or put the text in quotes"},
		{"tag", "command: !vault x\n", "1: command: the tag \"!vault\" is not known, remove it"},
		{"not UTF-8", ok + "env: {A: \xff}\n", "2: yaml: is not UTF-8 text, save the file as UTF-8"},
		{"NUL", ok + "env: {A: \x00}\n", "2: yaml: has a NUL byte, remove it"},
		{"escaped NUL", ok + `env: {A: "a\0"}`, "2: env.A: has a NUL character, which no file name or argument can hold, remove it"},
		{"unknown anchor", ok + "user: *x\n", "2: yaml: unknown anchor 'x' referenced, put text that starts with * in quotes"},
		{"tab", ok + "\tuser: x\n", "2: yaml: found a tab character that violates indentation, indent with spaces"},
		{"bad indentation", ok + "nice: 1\n  user: x\n", "3: yaml: mapping values are not allowed in this context, indent the keys of a mapping alike, and put text with a colon in quotes"},
		{"list in a mapping", ok + "- a\n", "2: yaml: did not find expected key, correct the indentation or the quotes here"},
		{"open bracket", ok + "args: [a,\nuser: x\n", "3: yaml: did not find expected ',' or ']', close the bracket"},
		{"open quote", ok + "user: \"x\n\n", "2: yaml: found unexpected end of stream, close the quotes"},

		{"command empty", "command: ''\n", "1: command: is empty, write command: ./server --port 80"},
		{"command without a value", "command:\nnice: 1\n", "1: command: has no value, write command: ./server --port 80"},
		{"command an empty list", "command: []\n", "1: command: is empty, write command: [./server, --port, 80]"},
		{"command with an empty program", "command: ['', a]\n", "1: command: the program is empty, write command: [./server, --port, 80]"},
		{"command a mapping", "command: {a: b}\n", "1: command: is a mapping where text or a list belongs, write command: ./server --port 80"},
		{"command with a list inside", "command:\n  - a\n  - [b]\n", "3: command: a list stands where text belongs, write command: [./server, --port, 80]"},
		{"command with an element without a value", "command:\n  - a\n  -\n", "3: command: has no value, write \"\" for empty text"},
		{"command for a shell", "command: a | b\n", `1: command: '|' has a meaning only a shell knows, write ["sh", "-c", "..."], or put it in quotes`},
		{"args text", ok + "args: -x\n", "2: args: is text where a list belongs, write args: [-x]"},
		{"list for a string", ok + "user: [a]\n", "2: user: is a list where text belongs, write user: www-data"},
		{"no value", ok + "user:\n", "2: user: has no value, write user: www-data or leave the key out"},
		{"user and group in one", ok + "user: a:b\n", `2: user: "a:b" is no name or number, write user and group as two keys`},
		{"dir empty", ok + "dir: ''\n", "2: dir: is empty, write dir: /srv/web"},

		{"env text", ok + "env: A=b\n", "2: env: is text where a mapping or a list belongs, write env: {PORT: 80}"},
		{"env without =", ok + "env: [A]\n", `2: env: an entry is no NAME=VALUE, write PORT=80`},
		{"env twice", ok + "env:\n - A=1\n - A=2\n", "4: env.A: is given twice, first in line 3, leave one out"},
		{"env without a value", ok + "env: {A: }\n", `2: env.A: has no value, write "" for empty text`},
		{"env of a list", ok + "env: {A: [b]}\n", `2: env.A: a list stands where text belongs, write env: {PORT: 80}`},
		{"env with = in the name", ok + "env: {A=B: c}\n", `2: env.A=B: "A=B" is no name of a variable, write NAME: VALUE`},
		{"env without a name", ok + "env: {'': c}\n", `2: env."": "" is no name of a variable, write NAME: VALUE`},

		{"output text", ok + "output: out.log\n", `2: output: "out.log" is not known, write auto or output: [{stdout: out.log, mode: append}]`},
		{"output a mapping", ok + "output: {stdout: a}\n", "2: output.stdout: stands in a list, write output: [{stdout: out.log}]"},
		{"output of text", ok + "output:\n - out.log\n", "3: output: an element is text, write - stdout: out.log"},
		{"output with both", ok + "output:\n - stdout: a\n   stderr: b\n", "3: output: stdout and stderr stand in one element, write an element for each"},
		{"output with none", ok + "output:\n - mode: append\n", "3: output: an element names no stream, write - stdout: out.log"},
		{"output twice", ok + "output:\n - stdout: a\n - stdout: b\n", "4: output.stdout: is given twice, leave one out"},
		{"output's mode", ok + "output:\n - stdout: a\n   mode: appned\n", `4: output.mode: "appned" is not known, write create or append`},

		{"repeat without seconds", ok + "repeat: {action: stop}\n", "2: repeat.seconds: is missing, write seconds: 60"},
		{"repeat with 0", ok + "repeat:\n  seconds: 0\n", `3: repeat.seconds: "0" is no whole number from 1 to 315360000, write seconds: 60`},
		{"repeat with a unit", ok + "repeat: {seconds: 5s}\n", `2: repeat.seconds: "5s" is no whole number from 1 to 315360000, write seconds: 60`},
		{"repeat of check", ok + "repeat: {seconds: 5, action: check}\n", `2: repeat.action: "check" cannot be done here, write start, restart, stop or trystart`},
		{"repeat text", ok + "repeat: 5\n", "2: repeat: is text where a mapping belongs, write repeat: {action: restart, seconds: 60}"},

		{"hooks a mapping", ok + "hooks: {prehook: start a}\n", "2: hooks: is a mapping where a list belongs, write hooks: [{prehook: start db}]"},
		{"hooks of text", ok + "hooks: [start a]\n", "2: hooks: an element is text, write - prehook: start db"},
		{"hook unknown", ok + "hooks: [{prehok: start a}]\n", "2: hooks.prehok: unknown key, did you mean prehook?"},
		{"hook of a bad verb", ok + "hooks: [{prehook: kill a}]\n", "2: hooks.prehook: a hook cannot kill, write start, restart, stop or trystart and a child"},
		{"hook of an unknown verb", ok + "hooks: [{posthook: run a}]\n", "2: hooks.posthook: a hook cannot run, write start, restart, stop or trystart and a child"},
		{"hook without a child", ok + "hooks: [{posthook: start}]\n", `2: hooks.posthook: "start" is no verb and child, write posthook: start cleanup`},
		{"hook for all", ok + "hooks: [{posthook: stop all}]\n", `2: hooks.posthook: "all" is reserved and cannot be the name of a child, write posthook: start cleanup`},
		{"prehook twice", ok + "hooks:\n - prehook: start a\n - prehook: start b\n", "4: hooks.prehook: is given twice, leave one out"},
		{"both hooks in one", ok + "hooks:\n - prehook: start a\n   posthook: start b\n", "3: hooks: prehook and posthook stand in one element, write an element for each"},

		{"grace without a unit", ok + "stop:\n  grace: 5\n", `3: stop.grace: "5" has no unit, write 5s`},
		{"grace negative", ok + "stop: {grace: -5s}\n", `2: stop.grace: "-5s" is negative, write grace: 10s`},
		{"grace in weeks", ok + "stop: {grace: 1w}\n", `2: stop.grace: "1w" is no duration, write a number and ms, s, m, h or d, as in grace: 10s`},
		{"grace in half days", ok + "stop: {grace: 0.5d}\n", `2: stop.grace: "0.5d" is no duration, write a number and ms, s, m, h or d, as in grace: 10s`},
		{"grace in days backwards", ok + "stop: {grace: 1d-2h}\n", `2: stop.grace: "1d-2h" is no duration, write a number and ms, s, m, h or d, as in grace: 10s`},
		{"grace in hours before days", ok + "stop: {grace: 2h1d}\n", `2: stop.grace: "2h1d" is no duration, write a number and ms, s, m, h or d, as in grace: 10s`},
		{"grace of too many days", ok + "stop: {grace: 3650d1ns}\n", `2: stop.grace: "3650d1ns" is longer than ten years, write less`},
		{"grace of days beyond reckoning", ok + "stop: {grace: 99999999999999999999d}\n", `2: stop.grace: "99999999999999999999d" is longer than ten years, write less`},
		{"grace of days and more hours beyond reckoning", ok + "stop: {grace: 10000d2000000h}\n", `2: stop.grace: "10000d2000000h" is longer than ten years, write less`},
		{"grace for ever", ok + "stop: {grace: 87601h}\n", `2: stop.grace: "87601h" is longer than ten years, write less`},
		{"grace beyond reckoning", ok + "stop: {grace: 99999999999h}\n", `2: stop.grace: "99999999999h" is longer than ten years, write less`},
		{"signal", ok + "stop: {signal: FOO}\n", `2: stop.signal: "FOO" is no signal, write a name like SIGTERM or a number`},
		{"restart", ok + "restart: true\n", `2: restart: "true" is not known, write never, on-failure or always`},
		{"back-off of nothing", ok + "restart: {backoff: {initial: 0s}}\n", `2: restart.backoff.initial: "0s" is too short, write initial: 500ms`},
		{"back-off the wrong way", ok + "restart: {backoff: {initial: 1m}}\n", `2: restart.backoff: initial (1m0s) is longer than max (30s), write both, the smaller one as initial`},
		{"factor", ok + "restart: {backoff: {factor: .nan}}\n", `2: restart.backoff.factor: ".nan" is no number from 1 to 100, write factor: 2`},
		{"limit without a window", ok + "restart: {limit: {starts: 3}}\n", "2: restart.limit.within: is missing, write within: 1m"},
		{"limit without a number", ok + "restart: {limit: {within: 3s}}\n", "2: restart.limit.starts: is missing, write starts: 5"},
		{"success", ok + "restart: {success: [256]}\n", `2: restart.success: "256" is no exit code and no signal, write a number from 0 to 255 or a name like TERM`},
		{"umask", ok + "umask: 0x12\n", `2: umask: "0x12" is no octal number from 000 to 777, write umask: 022`},
		{"umask too large", ok + "umask: 1000\n", `2: umask: "1000" is no octal number from 000 to 777, write umask: 022`},
		{"nice", ok + "nice: 20\n", `2: nice: "20" is no whole number from -20 to 19, write nice: 10`},
		{"limit unknown", ok + "limits: {nofiles: 1}\n", "2: limits.nofiles: unknown key, did you mean nofile?"},
		{"limit with a vague unit", ok + "limits: {as: 64M}\n", `2: limits.as: "64M" is no size, write bytes, a size like 64MB or 64MiB, or unlimited`},
		{"count with a unit", ok + "limits: {nofile: 1KB}\n", `2: limits.nofile: "1KB" is no whole number (a count), write digits or unlimited`},
		{"limit negative", ok + "limits: {nofile: -1}\n", `2: limits.nofile: "-1" is no whole number (a count), write digits or unlimited`},
		{"limit too large", ok + "limits: {as: 9999999999TiB}\n", `2: limits.as: "9999999999TiB" is too large, write unlimited`},
		{"limit upside down", ok + "limits: {nofile: {soft: 2, hard: 1}}\n", "2: limits.nofile: soft is above hard, write a soft limit of at most hard"},
		{"little memory", ok + "limits: {memory: 64}\n", "2: limits.memory: 64 bytes are too few for any program, write a unit, as in memory: 512MiB, or unlimited"},
		{"memory in halves", ok + "limits: {memory: {soft: 1MiB, hard: 2MiB}}\n", "2: limits.memory: is a mapping where text belongs, write memory: 512MiB"},
		{"no processor", ok + "limits: {cpu: 0.000}\n", `2: limits.cpu: "0.000" would let nothing run, write cpu: 0.5 or unlimited`},
		{"processors in too many places", ok + "limits: {cpu: 0.1234}\n", `2: limits.cpu: "0.1234" is no number of processors with up to three decimal places, write cpu: 0.5 or unlimited`},
		{"processors without a number", ok + "limits: {cpu: half}\n", `2: limits.cpu: "half" is no number of processors with up to three decimal places, write cpu: 0.5 or unlimited`},
		{"processors in another notation", ok + "limits: {cpu: 1e3}\n", `2: limits.cpu: "1e3" is no number of processors with up to three decimal places, write cpu: 0.5 or unlimited`},
		{"too many processors", ok + "limits: {cpu: 9000}\n", `2: limits.cpu: "9000" is more processors than Linux can have, write fewer or unlimited; seconds of processor time are cpu_time`},
		{"far too many processors", ok + "limits: {cpu: 99999999999999999999}\n", `2: limits.cpu: "99999999999999999999" is more processors than Linux can have, write fewer or unlimited; seconds of processor time are cpu_time`},
		{"processor time by its old name", ok + "limits: {cpu: {soft: 1, hard: 2}}\n", "2: limits.cpu: is a mapping where text belongs, write cpu: 0.5 for half a processor, or cpu_time: {soft: 60, hard: 90} for RLIMIT_CPU in seconds"},
		{"no tasks", ok + "limits: {tasks: 0}\n", "2: limits.tasks: 0 tasks would let nothing start, write tasks: 200 or unlimited"},
		{"limit by half", ok + "limits: {nofile: {soft: 2}}\n", "2: limits.nofile.hard: is missing, write soft and hard"},
		{"metrics without a port", ok + "metrics: {path: /m}\n", "2: metrics.port: is missing, write port: 9100"},
		{"metrics on no port", ok + "metrics: {port: 0}\n", `2: metrics.port: "0" is no whole number from 1 to 65535, write port: 9100`},
		{"metrics as a port", ok + "metrics: 9100\n", "2: metrics: is text where a mapping belongs, write metrics: {port: 9100}"},
		{"metrics without a slash", ok + "metrics: {port: 1, path: m}\n", `2: metrics.path: "m" does not begin with a slash, write path: /metrics`},
		{"metrics with a query", ok + "metrics: {port: 1, path: \"/m?x\"}\n", `2: metrics.path: "/m?x" is no path of a URL, leave out blanks, ? and #, as in path: /metrics`},
		{"metrics of another host", ok + "metrics: {port: 1, host: db}\n", "2: metrics.host: unknown key, did you mean port?"},
		{"all at once, by line", "nice: 99\nstop: {grace: 5}\nusr: x\n",
			"1: nice: \"99\" is no whole number from -20 to 19, write nice: 10\n" +
				"1: command: is missing, write command: ./server --port 80\n" +
				"2: stop.grace: \"5\" has no unit, write 5s\n" +
				"3: usr: unknown key, did you mean user?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantChildErrors(t, tt.text, tt.want)
		})
	}
}

// wantChildErrors wants a child's file refused with these errors, a line each,
// without the name of the file.
func wantChildErrors(t *testing.T, text, want string) {
	t.Helper()
	c, err := ParseChild("/lp", "web.yml", []byte(text), nil)
	errs, ok := errors.AsType[FileErrors](err)
	if !ok || c != nil {
		t.Fatalf("got %+v, %v", c, err)
	}
	if want := "web.yml:" + strings.ReplaceAll(want, "\n", "\nweb.yml:"); errs.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", errs, want)
	}
}

func TestNames(t *testing.T) {
	files := []struct {
		file, name string
		ok         bool
	}{
		{"web.yml", "web", true}, {"web.yaml", "web", true}, {"web.prod.yml", "web", true},
		{".web.yml", "", false}, {".yml", "", false}, {"web.YML", "", false}, {"web.yml.bak", "", false},
		{"web", "", false}, {"web.yml~", "", false}, {"#web.yml#", "", false},
	}
	for _, tt := range files {
		if name, ok := NameOf(tt.file); name != tt.name || ok != tt.ok {
			t.Errorf("NameOf(%q) = %q, %v", tt.file, name, ok)
		}
	}
	for _, name := range []string{"web", "web-1", "grüß", "on-call", "a:b", strings.Repeat("x", 200)} {
		if err := ValidName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "all", "on", "start", "TryStart", "InFo", "-h", "a b", "a\tb", "a\u00a0b", "a\x7fb",
		"a,b", "a;b", "a/b", "a.b", "\xff", strings.Repeat("x", 201)} {
		if err := ValidName(name); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestHashIsOfWhatIsInForce(t *testing.T) {
	base := parse(t, "command: ./run a\nnice: 5\nenv: {A: 1, B: 2}\nlimits: {core: 0, as: 1}\n")
	for name, text := range map[string]string{
		"comments":       "# a comment\ncommand: ./run a # another\nnice: 5\nenv: {A: 1, B: 2}\nlimits: {core: 0, as: 1}\n",
		"order":          "limits: {as: 1, core: 0}\nenv: {B: 2, A: 1}\nnice: 5\ncommand: ./run a\n",
		"spelling":       "command: [./run, 'a']\nnice: \"5\"\nenv: [B=2, A=1]\nlimits: {core: 0B, as: {soft: 1, hard: 1}}\n",
		"args":           "command: ./run\nargs: [a]\nnice: 5\nenv: {A: 1, B: 2}\nlimits: {core: 0, as: 1}\n",
		"defaults named": "command: ./run a\nnice: 5\nenv: {A: 1, B: 2}\nlimits: {core: 0, as: 1}\nstop: {grace: 10000ms}\nrestart: never\n",
	} {
		if got := parse(t, text); got.Hash != base.Hash {
			t.Errorf("%s changes the hash", name)
		}
	}
	moved, err := ParseChild("/x", "/lp/web.prod.yaml", []byte("command: ./run a\nnice: 5\nenv: {A: 1, B: 2}\nlimits: {core: 0, as: 1}\n"), nil)
	if err != nil || moved.Hash != base.Hash {
		t.Errorf("another file with the same content in the same directory: %v", err)
	}
}

// Each field, however deep, is part of the hash, but for those that say where
// and how it is written.
func TestEveryFieldIsInTheHash(t *testing.T) {
	full := func() *Child {
		c := parse(t, `
command: ./run a
env: {A: b}
env_file: x
output: [{stdout: a, rotate: {}, format: text}, {stderr: b, rotate: {}, format: json}]
user: u
group: g
umask: 022
nice: 5
limits: {core: 1}
restart: {policy: always, limit: {starts: 1, within: 1s}, success: [1]}
repeat: {seconds: 5}
hooks: [{prehook: start a}, {posthook: start b}]
metrics: {port: 1}
`)
		return c
	}
	notHashed := map[string]bool{".File": true, ".LoadPath": true, ".CommandLine": true, ".Hash": true}
	isHashed := func(path string) bool {
		return !notHashed[path] && !strings.Contains(path, ".Rotate.") && !strings.HasPrefix(path, ".Metrics.")
	}
	before := digest(*full())
	seen := 0
	for i := range leaves(reflect.ValueOf(full()), "") {
		c := full()
		leaf := leaves(reflect.ValueOf(c), "")[i]
		seen++
		switch v := leaf.value; v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.Uint32, reflect.Uint64:
			v.SetUint(v.Uint() + 1)
		case reflect.Float64:
			v.SetFloat(v.Float() + 1)
		case reflect.Bool:
			v.SetBool(!v.Bool())
		default:
			t.Fatalf("%s: no way to change a %v", leaf.path, v.Kind())
		}
		if changed := digest(*c) != before; changed != isHashed(leaf.path) {
			t.Errorf("%s: changes the hash: %v", leaf.path, changed)
		}
	}
	if seen < 30 {
		t.Errorf("only %d fields were tried", seen)
	}
}

type leaf struct {
	path  string
	value reflect.Value
}

func leaves(v reflect.Value, path string) []leaf {
	var all []leaf
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			panic(path + " is not set, so it would not be tried")
		}
		return leaves(v.Elem(), path)
	case reflect.Struct:
		for i := range v.NumField() {
			all = append(all, leaves(v.Field(i), path+"."+v.Type().Field(i).Name)...)
		}
	case reflect.Slice:
		if v.Len() == 0 {
			panic(path + " is empty, so it would not be tried")
		}
		for i := range v.Len() {
			all = append(all, leaves(v.Index(i), fmt.Sprintf("%s[%d]", path, i))...)
		}
	default:
		return []leaf{{path, v}}
	}
	return all
}
