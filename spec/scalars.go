package spec

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	sigterm        = Signal(unix.SIGTERM)
	defaultGrace   = Duration(10 * time.Second)
	defaultInitial = Duration(500 * time.Millisecond)
	defaultMax     = Duration(30 * time.Second)
	// longest is the longest duration a file can ask for; deadlines stay far
	// from the end of time.Duration.
	longest = Duration(10 * 365 * 24 * time.Hour)
)

const day = 24 * time.Hour

var booleans = []string{"true", "false"}

var policies = []string{string(Never), string(OnFailure), string(Always)}

func seconds(n int) Duration { return Duration(time.Duration(n) * time.Second) }

func stopRules() []rule[Stop] {
	return []rule[Stop]{
		{Key{Name: "signal", Forms: []Form{Scalar}, Kind: KindSignal, Example: "signal: INT", Default: "`TERM`",
			Doc: "sent first, to the whole process group, and CONT after it"},
			func(v value, s *Stop) {
				if sig, ok := readSignal(v); ok {
					s.Signal = sig
				}
			}},
		{Key{Name: "grace", Forms: []Form{Scalar}, Kind: KindDuration, Example: "grace: 10s", Default: "`10s`",
			Doc: "how long the group has before KILL", More: "`0s` kills at once. A stop under way keeps what the file said when it began"},
			func(v value, s *Stop) { readDuration(v, 0, &s.Grace) }},
	}
}

func readSignal(v value) (Signal, bool) {
	text, ok := v.text()
	if !ok {
		return 0, false
	}
	sig, err := ParseSignal(text)
	if err != nil {
		v.failf("%s is no signal, write a name like SIGTERM or a number", quoted(text))
		return 0, false
	}
	return sig, true
}

// readDuration reads a duration of at least least, and tells whether it is one.
func readDuration(v value, least Duration, into *Duration) bool {
	text, ok := v.text()
	if !ok {
		return false
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		v.failf("%s has no unit, write %ss", quoted(text), shortened(strings.TrimLeft(text, "+-")))
		return false
	}
	parsed, err := parseDuration(text)
	d := Duration(parsed)
	switch {
	case err != nil && strings.Trim(text, "0123456789.hmsuµn") == "" && strings.HasSuffix(text, "h"), d > longest:
		v.failf("%s is longer than ten years, write less", quoted(text))
	case err != nil:
		v.failf("%s is no duration, write a number and ms, s, m, h or d, as in %s", quoted(text), v.rule.Example)
	case d < 0:
		v.failf("%s is negative, write %s", quoted(text), v.rule.Example)
	case d < least:
		v.failf("%s is too short, write %s", quoted(text), v.rule.Example)
	default:
		*into = d
		return true
	}
	return false
}

// parseDuration is time.ParseDuration, with days before all else: 30d, 1d12h.
// What is beyond longest with its days may come out as any such value.
func parseDuration(text string) (time.Duration, error) {
	number, rest, found := strings.Cut(text, "d")
	if !found {
		return time.ParseDuration(text)
	}
	const most = 10_000 // more than longest
	days, err := strconv.ParseUint(number, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), days > most:
		return most * day, nil
	case err != nil, strings.HasPrefix(rest, "-"), strings.HasPrefix(rest, "+"):
		return 0, fmt.Errorf("%q is no duration", text)
	case rest == "":
		return time.Duration(days) * day, nil
	}
	more, err := time.ParseDuration(rest)
	return time.Duration(days)*day + min(more, most*day), err
}

func restartRules() []rule[Restart] {
	return []rule[Restart]{
		{Key{Name: "policy", Forms: []Form{Scalar}, Kind: KindChoice, Example: "policy: on-failure", Values: policies, Default: "`never`",
			Doc: "which ends by itself are followed by a new start"}, readPolicy},
		{Key{Name: "backoff", Forms: []Form{Mapping}, Example: "backoff: {initial: 500ms, max: 30s, factor: 2}",
			Doc: "the wait before that start, with up to a tenth more at random", More: "It begins anew once a process has lived for `max`", Keys: keysOf(backoffRules())}, readBackoff},
		{Key{Name: "limit", Forms: []Form{Mapping}, Example: "limit: {starts: 5, within: 1m}", Default: "none",
			Doc: "gives up after so many starts in so much time", More: "The child is failed until a command starts it", Keys: keysOf(startLimitRules())}, readStartLimit},
		{Key{Name: "success", Forms: []Form{List}, Element: scalars(KindExit), Example: "success: [2, TERM]", Default: "none",
			Doc: "what is a success besides exit code 0", More: "It counts wherever kita tells success from failure"}, readSuccess},
	}
}

// readRestart reads `restart: on-failure` or the whole mapping.
func readRestart(v value, d *draft) {
	if v.form() == Mapping {
		readMapping(v, restartRules(), &d.Restart)
		return
	}
	readPolicy(v, &d.Restart)
}

func readPolicy(v value, r *Restart) { readChoice(v, &r.Policy) }

func backoffRules() []rule[Backoff] {
	return []rule[Backoff]{
		{Key{Name: "initial", Forms: []Form{Scalar}, Kind: KindDuration, Least: "1ns", Example: "initial: 500ms", Default: "`500ms`", Doc: "the first wait"},
			func(v value, b *Backoff) { readDuration(v, 1, &b.Initial) }},
		{Key{Name: "max", Forms: []Form{Scalar}, Kind: KindDuration, Least: "1ns", Example: "max: 30s", Default: "`30s`", Doc: "the longest wait"},
			func(v value, b *Backoff) { readDuration(v, 1, &b.Max) }},
		{Key{Name: "factor", Forms: []Form{Scalar}, Kind: KindNumber, Min: 1, Max: 100, Example: "factor: 2", Default: "`2`", Doc: "from one wait to the next"}, readFactor},
	}
}

func readBackoff(v value, r *Restart) {
	readMapping(v, backoffRules(), &r.Backoff)
	if b := r.Backoff; b.Initial > b.Max {
		v.failf("initial (%v) is longer than max (%v), write both, the smaller one as initial", b.Initial, b.Max)
	}
}

func readFactor(v value, b *Backoff) {
	text, ok := v.text()
	if !ok {
		return
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f < 1 || f > 100 {
		v.failf("%s is no number from 1 to 100, write factor: 2", quoted(text))
		return
	}
	b.Factor = f
}

func startLimitRules() []rule[StartLimit] {
	return []rule[StartLimit]{
		{Key{Name: "starts", Forms: []Form{Scalar}, Kind: KindInteger, Example: "starts: 5", Min: 0, Max: 1000, Default: "`0`",
			Doc: "how many starts; 0 for no limit"},
			func(v value, l *StartLimit) { readInteger(v, &l.Starts) }},
		{Key{Name: "within", Forms: []Form{Scalar}, Kind: KindDuration, Least: "1ns", Example: "within: 1m",
			Doc: "in how much time, a sliding window", More: "Has to be there where `starts` is not 0"},
			func(v value, l *StartLimit) { readDuration(v, 1, &l.Within) }},
	}
}

func readStartLimit(v value, r *Restart) {
	before := len(v.doc.errs)
	starts := r.Limit.Starts
	r.Limit.Starts = -1
	readMapping(v, startLimitRules(), &r.Limit)
	given := r.Limit.Starts >= 0
	if !given {
		r.Limit.Starts = starts
	}
	switch l := &r.Limit; {
	case len(v.doc.errs) > before:
	case !given && starts == 0:
		v.under("starts", v.line).failf("is missing, write starts: 5")
	case l.Starts > 0 && l.Within == 0:
		v.under("within", v.line).failf("is missing, write within: 1m")
	case l.Starts == 0:
		l.Within = 0
	}
}

func readSuccess(v value, r *Restart) {
	r.Success = nil
	for _, item := range v.items() {
		text, ok := item.text()
		if !ok {
			continue
		}
		if code, err := strconv.Atoi(text); err == nil && code >= 0 && code <= 255 {
			r.Success = append(r.Success, ExitClass{Code: code})
		} else if sig, err := ParseSignal(text); err == nil && strings.Trim(text, "0123456789") != "" {
			r.Success = append(r.Success, ExitClass{Signal: sig})
		} else {
			item.failf("%s is no exit code and no signal, write a number from 0 to 255 or a name like TERM", quoted(text))
		}
	}
	slices.SortFunc(r.Success, func(a, b ExitClass) int {
		return cmp.Or(cmp.Compare(a.Signal, b.Signal), cmp.Compare(a.Code, b.Code))
	})
	r.Success = slices.Compact(r.Success)
}

func readUmask(v value, d *draft) {
	text, ok := v.text()
	if !ok {
		return
	}
	digits := strings.TrimPrefix(text, "0o")
	n, err := strconv.ParseUint(digits, 8, 32)
	if err != nil || n > 0o777 {
		v.failf("%s is no octal number from 000 to 777, write umask: 022", quoted(text))
		return
	}
	mask := uint32(n)
	d.Umask = &mask
}

func readNice(v value, d *draft) {
	if n, ok := v.integer(); ok {
		d.Nice = &n
	}
}
