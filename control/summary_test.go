package control

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"kita/control/controltest"
	"kita/spec"
)

// summaryOf is what a summary has of a view.
func summaryOf(v spec.View) spec.View {
	v.Spec = nil
	v.Desired = spec.Desired{Run: v.Desired.Run, Generation: v.Desired.Generation, RestartGeneration: v.Desired.RestartGeneration}
	v.Status.History, v.Status.LastLines = nil, nil
	if v.Status.Process != nil {
		p := *v.Status.Process
		p.Config = nil
		v.Status.Process = &p
	}
	return v
}

// oddViews have something in every member.
func oddViews() []spec.View {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	config := &spec.Child{Name: "web", CommandLine: "/bin/web"}
	return []spec.View{
		{Name: "plain"},
		{
			Name: "web\x00<é>\"\\\xff\u2028", Spec: config, FileError: "web.yml:1: no\n2: no", Stale: true,
			Desired: spec.Desired{Run: spec.Running, Generation: 1<<63 - 1, RestartGeneration: 7, Posthook: 3, Cause: spec.CauseHook, By: "unix:0", At: at},
			Status: spec.Status{
				Phase: spec.PhaseBackOff, Since: at, ObservedGeneration: 4, Starts: 5, Restarts: 6, Reason: "it waits", NextStart: &at, RepeatAt: &at,
				Process:  &spec.Process{PID: 80, Incarnation: 9, StartedAt: at.In(time.FixedZone("", 3600)), Adopted: true, Config: config},
				LastExit: &spec.Exit{Incarnation: 8, Known: true, Code: 0, Signal: 11, CoreDumped: true, OOMKilled: true, At: at},
				History:  []spec.Exit{{}, {}}, LastLines: &spec.LastLines{Lines: []string{"x"}},
				Failure: &spec.Failure{Generation: 4, Code: spec.CannotStart, Message: "no such file"}, Warnings: []string{"a", "b: c"},
			},
		},
		{Name: "ended", Status: spec.Status{Phase: spec.PhaseFailed, LastExit: &spec.Exit{Known: true, Code: 255, At: at}}},
	}
}

func TestSummariesAreViewsInShort(t *testing.T) {
	var want []spec.View
	for _, v := range oddViews() {
		want = append(want, summaryOf(v))
	}
	text := appendSummaries(nil, oddViews())
	// Everybody can read them, and what reads them quickly reads the same.
	asJSON, err := json.Marshal(childrenAnswer{want})
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != string(asJSON) {
		t.Errorf("written\n%s\nencoding/json has\n%s", text, asJSON)
	}
	var byJSON childrenAnswer
	if err := json.Unmarshal(text, &byJSON); err != nil {
		t.Fatal(err)
	}
	views, ok := decodeSummaries(string(text))
	if !ok || !reflect.DeepEqual(views, byJSON.Children) {
		t.Errorf("%v, read\n%+v\nencoding/json reads\n%+v", ok, views, byJSON.Children)
	}
	if views, ok := decodeSummaries(string(appendSummaries(nil, nil))); !ok || views == nil || len(views) != 0 {
		t.Errorf("no children: %v, %v", views, ok)
	}
}

// FuzzSummaries: what is read without encoding/json is what that reads.
func FuzzSummaries(f *testing.F) {
	f.Add(string(appendSummaries(nil, oddViews())))
	full, _ := json.Marshal(childrenAnswer{oddViews()})
	f.Add(string(full))
	for _, text := range []string{
		``, `{}`, `null`, `{"children":null}`, `{"children":[]}`, ` { "children" : [ {"name":"a" , "x":[1,{"y":null}]} ] } `, `{"children":[{"name":1}]}`,
		`{"children":[{"status":{"process":null}}]}`, `{"children":[{"status":{"since":"x"}}]}`, `{"children":[{"name":"\ud800"}]}`, `{"children":[{}],"children":[{"name":"b"}]}`,
		`{"children":[{"desired":{"generation":1e3}}]}`, `{"children":[{"desired":{"generation":007}}]}`, `{"children":[{"NAME":"b"}]}`, `{"children":[{"stale":truex}]}`,
		`{"children":[{"status":{"warnings":["a"],"warnings":["b"]}}]}`, `{"children":[{"status":{"last_exit":{"signal":}}}]}`, `{"children":[]}x`, `{"children":[{"name":"a"},]}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		views, ok := decodeSummaries(text)
		if !ok {
			return
		}
		var answer childrenAnswer
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			t.Fatalf("%q is read, and is no such JSON: %v", text, err)
		}
		if len(views)+len(answer.Children) > 0 && !reflect.DeepEqual(views, answer.Children) {
			t.Errorf("%q\nread %+v\nencoding/json reads %+v", text, views, answer.Children)
		}
	})
}

// FuzzView is FuzzSummaries for one child.
func FuzzView(f *testing.F) {
	for _, v := range append(oddViews(), manyViews(1)...) {
		text, _ := json.Marshal(v)
		f.Add(string(text))
	}
	f.Add(`{"name":"a","spec":{"command":null}}`)
	f.Add(`{"name":"a","spec":{"env":[]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var got, want spec.View
		if !decodeView(text, &got) {
			return
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q\nread %+v\nencoding/json reads %+v, %v", text, got, want, err)
		}
	})
}

// TestAViewIsReadQuickly: that of a plain child needs no encoding/json.
func TestAViewIsReadQuickly(t *testing.T) {
	want := manyViews(1)[0]
	want.Status.History = []spec.Exit{{Known: true, Code: 3, At: controltest.Started}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got spec.View
	if !decodeView(string(text), &got) || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v of %s", got, text)
	}
}

// TestSummariesAreAskedFor: a server that does not know of them is asked for views.
func TestSummariesAreAskedFor(t *testing.T) {
	s := newTCPServer(t, Options{Service: testService()})
	c := Dial(Target{Unix: s.socket})
	full, _, err := c.Overview(t.Context(), false)
	if err != nil || full[0].Spec == nil {
		t.Fatalf("%+v, %v", full, err)
	}
	short, info, err := c.Overview(t.Context(), true)
	if err != nil || len(short) != len(full) || info.Version != "test" {
		t.Fatalf("%+v, %v", short, err)
	}
	for i := range short {
		if want := summaryOf(full[i]); !reflect.DeepEqual(short[i], want) {
			t.Errorf("%+v, want %+v", short[i], want)
		}
	}
	old := 0
	target, _ := counting(t, oldServer(&old))
	views, _, err := Dial(target).Overview(t.Context(), true)
	if err != nil || len(views) != 1 || views[0].Name != "web" || old != 1 {
		t.Errorf("%+v, %v, refused %d times", views, err, old)
	}
}

func manyViews(n int) []spec.View {
	views := make([]spec.View, n)
	for i := range views {
		child := controltest.Child(fmt.Sprintf("c%05d", i))
		views[i] = spec.View{Name: child.Name, Spec: child}
		views[i].Status = spec.Status{
			Phase: spec.PhaseRunning, Since: controltest.Started, Starts: 1,
			Process: &spec.Process{PID: i + 1, Incarnation: 1, StartedAt: controltest.Started, Config: child},
		}
	}
	return views
}

func BenchmarkSummaries(b *testing.B) {
	views := manyViews(10_000)
	text := appendSummaries(nil, views)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			appendSummaries(text[:0], views)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := decodeSummaries(string(text)); !ok {
				b.Fatal("not read")
			}
		}
	})
}
