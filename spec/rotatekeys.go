package spec

import (
	"cmp"
	"sync"
	"time"
)

const (
	defaultRotateSize = 100_000_000
	defaultKeep       = 5
	// leastRotateSize is one block of most file systems: they free nothing less.
	leastRotateSize = 4 << 10
	// mostKept bounds the names in a directory.
	mostKept = 10_000
	// leastPeriod bounds how often files are rotated, and archives looked at,
	// because of their age.
	leastPeriod = Duration(time.Second)
)

// rotateOff is the rotate of output that is not rotated.
const rotateOff = "off"

// rotation is a key `rotate`, as far as it says anything. What is nil, or empty, is
// left to what stands behind it.
type rotation struct {
	given bool
	// off: nothing is rotated, and nothing stands behind.
	off           bool
	size          *uint64
	every, maxAge *Duration
	keep          *int
	compress      Compression
}

func rotateKey() Key {
	return Key{Name: "rotate", Forms: []Form{Scalar, Mapping}, Kind: KindChoice, Values: []string{rotateOff}, Keys: keysOf(rotateRules()),
		Example: "rotate: {size: 100MB, keep: 5}",
		Default: "those of the keys below with `auto`, else `off`",
		Doc:     "when the head of an output file becomes an archive, and which archives are kept",
		More: "It merges by name with that of `defaults`, and is no reason for a restart. `{}` has the defaults of the keys below. Devices are not rotated. " +
			"See [output](output.md)"}
}

// streamRotateKey is that of one stream.
func streamRotateKey() Key {
	k := rotateKey()
	k.Default = "that of the child"
	k.Doc, k.More = "`rotate` for this stream, over that of the child", "If the two streams are one file, it must be the same for both"
	return k
}

var rotateRules = sync.OnceValue(func() []rule[rotation] {
	return []rule[rotation]{
		{Key{Name: "size", Forms: []Form{Scalar}, Kind: KindSize, Least: "4KiB", Example: "size: 100MB", Default: "`100MB`",
			Doc: "how much the file holds before its head becomes an archive"},
			func(v value, r *rotation) {
				if n, ok := readSize(v, leastRotateSize); ok {
					r.size = &n
				}
			}},
		{Key{Name: "every", Forms: []Form{Scalar}, Kind: KindDuration, Example: "every: 24h", Default: "`0s`",
			Doc: "rotates what there is so long after the last time", More: "At least `1s`; `0s` does not"},
			func(v value, r *rotation) { readPeriod(v, &r.every) }},
		{Key{Name: "keep", Forms: []Form{Scalar}, Kind: KindInteger, Min: 0, Max: mostKept, Example: "keep: 5", Default: "`5`",
			Doc: "how many archives are kept", More: "0 keeps none"},
			func(v value, r *rotation) {
				if n, ok := v.integer(); ok {
					r.keep = &n
				}
			}},
		{Key{Name: "max_age", Forms: []Form{Scalar}, Kind: KindDuration, Example: "max_age: 30d", Default: "`0s`",
			Doc: "how old an archive may get", More: "At least `1s`; `0s` is any age"},
			func(v value, r *rotation) { readPeriod(v, &r.maxAge) }},
		{Key{Name: "compress", Forms: []Form{Scalar}, Kind: KindChoice, Example: "compress: zstd", Default: "`zstd`",
			Values: []string{string(Zstd), string(Gzip), string(NoCompression)}, Doc: "how archives are packed"},
			func(v value, r *rotation) { readChoice(v, &r.compress) }},
	}
})

// readRotate reads `rotate: off`, or a mapping over what into says already.
func readRotate(v value, into *rotation) {
	if v.form() == Mapping {
		if into.off {
			*into = rotation{}
		}
		into.given = true
		readMapping(v, rotateRules(), into)
		return
	}
	switch text, ok := v.text(); {
	case !ok:
	case text != rotateOff:
		v.failf("%s is not known, write off or %s", quoted(text), v.rule.Example)
	default:
		*into = rotation{given: true, off: true}
	}
}

// readPeriod reads a duration of at least leastPeriod, or 0s for none.
func readPeriod(v value, into **Duration) {
	var d Duration
	switch {
	case !readDuration(v, 0, &d):
	case d != 0 && d < leastPeriod:
		v.failf("%v is too short, write %s or 0s for none", d, v.rule.Example)
	default:
		*into = &d
	}
}

// over is r where it says something, and under where it does not.
func (r rotation) over(under rotation) rotation {
	switch {
	case !r.given:
		return under
	case r.off || under.off:
		return r
	}
	r.size = cmp.Or(r.size, under.size)
	r.every, r.maxAge = cmp.Or(r.every, under.every), cmp.Or(r.maxAge, under.maxAge)
	r.keep = cmp.Or(r.keep, under.keep)
	r.compress = cmp.Or(r.compress, under.compress)
	return r
}

// rotate is r with what holds where nothing is said; nil where r is off.
func (r rotation) rotate() *Rotate {
	if r.off {
		return nil
	}
	return &Rotate{
		Size:     or(r.size, defaultRotateSize),
		Every:    or(r.every, 0),
		Keep:     or(r.keep, defaultKeep),
		MaxAge:   or(r.maxAge, 0),
		Compress: cmp.Or(r.compress, Zstd),
	}
}

// or is what p points to, or otherwise where it points to nothing.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
