package main

import (
	"context"

	"github.com/urfave/cli/v2"
)

// The shells ask the program itself: it lists what may follow when its last word is --generate-bash-completion.
const (
	bashCompletion = `_quern() {
  local cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]:0:$COMP_CWORD}")
  [[ $cur == -* ]] && words+=("$cur")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
  [[ ${#COMPREPLY[@]} -eq 0 ]] && COMPREPLY=($(compgen -f -- "$cur"))
}
complete -o bashdefault -o default -F _quern quern
`
	zshCompletion = `#compdef quern
_quern() {
  local -a opts
  local cur=${words[-1]}
  if [[ $cur == -* ]]; then
    opts=("${(@f)$(${words[@]:0:#words[@]-1} ${cur} --generate-bash-completion 2>/dev/null)}")
  else
    opts=("${(@f)$(${words[@]:0:#words[@]-1} --generate-bash-completion 2>/dev/null)}")
  fi
  [[ -n ${opts[1]} ]] && _describe 'values' opts || _files
}
compdef _quern quern
`
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Category: groupSetup, ArgsUsage: "bash|zsh|fish", Usage: "print a completion script for a shell, to be sourced",
		Action: action(1, 1, func(_ context.Context, c *cli.Context, o *output) error {
			switch shell := c.Args().First(); shell {
			case "bash":
				o.printf("%s", bashCompletion)
			case "zsh":
				o.printf("%s", zshCompletion)
			case "fish":
				s, err := c.App.ToFishCompletion()
				if err != nil {
					return err
				}
				o.printf("%s", s)
			default:
				return usagef("use one of bash, zsh, fish", "no completion for shell %q", shell)
			}
			return nil
		}),
	}
}
