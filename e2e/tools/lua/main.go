// Runs a health script as Argo CD does: in the same Lua, with no more of its library than Argo CD gives to scripts of its users,
// for at most a second, and with the object as the global `obj`.
//
// Usage: lua SCRIPT < OBJECTS. Reads JSON objects one after the other, and prints for each the table that the script returned, as a
// line of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "lua:", err)
		os.Exit(1)
	}
}

func run(arguments []string, input io.Reader, output io.Writer) error {
	if len(arguments) != 1 {
		return errors.New("give the script as the only argument")
	}
	script, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(input)
	for {
		var object any
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		result, err := evaluate(string(script), object)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(output, "%s\n", result); err != nil {
			return err
		}
	}
}

func evaluate(script string, object any) ([]byte, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", luajson.DecodeValue(state, object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	result := state.Get(-1)
	if result.Type() != lua.LTTable {
		return nil, fmt.Errorf("the script returned no table but a %s", result.Type())
	}
	return luajson.Encode(result)
}
