package plan

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"kita/spec"
)

// TestAppendJSONIsWhatMarshalMakes fills every field there is, and those to come.
func TestAppendJSONIsWhatMarshalMakes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var o Observed
		fill(random, reflect.ValueOf(&o).Elem())
		want, err := json.Marshal(&o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := o.AppendJSON(nil)
		if err != nil || string(got) != string(want) {
			t.Fatalf("error %v\ngot  %s\nwant %s", err, got, want)
		}
	}
}

func TestReadJSONIsWhatUnmarshalMakes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		var o, want Observed
		fill(random, reflect.ValueOf(&o).Elem())
		data, err := o.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		wantErr := json.Unmarshal(data, &want)
		children := []*spec.Child{nil, newChild()}
		if o.Process != nil && o.Process.Config != nil {
			same := *o.Process.Config
			children = append(children, &same)
		}
		for i, child := range children {
			var got Observed
			if err := got.ReadJSON(data, child); (err == nil) != (wantErr == nil) {
				t.Fatalf("error %v, want %v", err, wantErr)
			} else if err != nil {
				continue
			}
			if i == 2 {
				if got.Process.Config != child {
					t.Fatalf("the configuration is a copy: %s", data)
				}
				got.Process.Config = want.Process.Config
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("got  %+v\nwant %+v", got, want)
			}
		}
	}
}

func TestAppendJSONSaysWhatCannotBeWritten(t *testing.T) {
	o := Observed{Since: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)}
	if _, err := o.AppendJSON(nil); err == nil {
		t.Error("a year that JSON does not have was written")
	}
}

// fill sets v to something; the zero value is likely, as in life.
func fill(random *rand.Rand, v reflect.Value) {
	if random.IntN(3) == 0 {
		return
	}
	switch at := v.Addr().Interface().(type) {
	case *time.Time:
		*at = epoch.Add(time.Duration(random.Int64N(int64(time.Hour))))
		return
	case *spec.Signal:
		*at = spec.Signal(random.IntN(65))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(random, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(random, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), random.IntN(3), 3))
		for i := range v.Len() {
			fill(random, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	case reflect.String:
		v.SetString([]string{"web", "a b", "<&>", "\"\\\n", "\xff", "日本\u2028"}[random.IntN(6)])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(random.Int64N(1 << 40))
	case reflect.Uint8, reflect.Uint32:
		v.SetUint(random.Uint64N(200))
	case reflect.Uint64:
		v.SetUint(random.Uint64())
	case reflect.Float64:
		v.SetFloat([]float64{1e-9, 0.5, 1.5, 2, 100, 1e22}[random.IntN(6)])
	}
}

// BenchmarkAppendJSON is what a save of a running child encodes.
func BenchmarkAppendJSON(b *testing.B) {
	o := Observed{Incarnation: 1, StartTicks: 12345678, Attempted: 1, Settled: 1, Starts: 1, Phase: spec.PhaseRunning, Since: epoch,
		Process: &Process{Launch: spec.Launch{Identity: spec.Identity{PID: 4711, Inode: 4711, StartTicks: 12345678, Incarnation: 1,
			BootID: "8d6cb5a4-53c8-4f6e-a6c1-3a5f9b1d7e20"}}, Config: newChild(), StartedAt: epoch}}
	b.ReportAllocs()
	var line []byte
	for b.Loop() {
		line, _ = o.AppendJSON(line[:0])
	}
}
