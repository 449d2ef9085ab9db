package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The database's commands on a stopped box, one after the other: what each
// leaves is what the next one finds.
func TestStateCommands(t *testing.T) {
	data := t.TempDir()
	t.Setenv("WATCHPOST_DATA", data)
	dir := filepath.Join(data, "state")
	db := filepath.Join(dir, "watchpost.db")
	good, err := os.ReadFile("../../../state/testdata/v3.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	put := func(name string, b []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	step := func(line string, want int, inOut, inErr string) string {
		t.Helper()
		var code int
		out, errs := said(t, func() { code = run(append([]string{"state"}, strings.Fields(line)...)) })
		if code != want || !strings.Contains(out, inOut) || !strings.Contains(errs, inErr) || inErr == "" && errs != "" {
			t.Errorf("state %s: exit code %d, output %q, errors %q; want %d, %q, %q", line, code, out, errs, want, inOut, inErr)
		}
		return out
	}

	step("check", exitInput, "", "no such file")
	put(db, good)
	step("check", exitOK, "good: version 3, 40 uploads, 12 jobs, 3 workflows", "")
	if n := strings.Count(step("dump", exitOK, `"bucket":"uploads"`, ""), "\n"); n != 55 {
		t.Errorf("dump has %d lines, want 55", n)
	}
	if out := step("dump --bucket jobs", exitOK, `"status":"set_aside"`, ""); strings.Contains(out, `"bucket":"uploads"`) {
		t.Error("dump --bucket jobs has uploads")
	}
	if out := step("dump --bucket workflows", exitOK, `"workspace":"yard"`, ""); strings.Count(out, "\n") != 3 {
		t.Error("dump --bucket workflows has not 3 lines")
	}
	step("dump --bucket cars", exitUsage, "", "uploads")
	step("backup copy.db", exitOK, "40 uploads", "")
	step("backup copy.db", exitOutput, "", "another name")
	step("check copy.db", exitOK, "good", "")
	step("restore newest", exitInput, "", "no backup")

	put("cut.db", good[:9000])
	step("restore cut.db", exitState, "", "nothing was changed")
	if now, err := os.ReadFile(db); err != nil || !bytes.Equal(now, good) {
		t.Error("a restore that failed changed the database")
	}
	put(db, good[:9000])
	step("check", exitState, "", "restore newest")
	step("backup worse.db", exitState, "", "damaged")
	if _, err := os.Stat("worse.db"); err == nil {
		t.Error("a damaged database was backed up")
	}
	put(filepath.Join(dir, "backups", "watchpost-000007-20260101T000000Z.db"), good)
	put(filepath.Join(dir, "backups", "watchpost-000008-20260101T000000Z.db"), good[:20000])
	step("restore newest", exitOK, "watchpost-000007", "")
	step("check", exitOK, "good", "")
	aside, err := filepath.Glob(db + ".replaced-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("the replaced file: %v %v", aside, err)
	}
	if kept, err := os.ReadFile(aside[0]); err != nil || len(kept) != 9000 {
		t.Errorf("the replaced file has %d bytes (%v), want 9000", len(kept), err)
	}
}
