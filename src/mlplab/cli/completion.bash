# TAB completion for this train.py: keys, choices, and run folders for resume=. Other commands complete as before.
for _mlplab_former in _comp_load _completion_loader; do  # bash-completion loads its own for python at the first TAB
    declare -F "$_mlplab_former" > /dev/null && "$_mlplab_former" python > /dev/null 2>&1
done
_mlplab_former=$(complete -p python 2> /dev/null | sed -n 's/.*-F \([^ ]*\) .*/\1/p')
[[ $_mlplab_former != _mlplab ]] || _mlplab_former=

_mlplab() {
    if ! [[ $COMP_CWORD -gt 1 && ${COMP_WORDS[1]} -ef $_mlplab_train ]]; then
        [[ -z $_mlplab_former ]] || "$_mlplab_former" "$@"
        return
    fi
    local line=${COMP_LINE:0:COMP_POINT} word words replaced pattern
    word=${line##* }
    COMPREPLY=()
    if [[ $word == resume=* ]]; then
        for pattern in "*" "*/*" "*/*/*" "*/*/*/*"; do
            while IFS= read -r replaced; do
                COMPREPLY+=("resume=${replaced%/.hydra/config.yaml}")
            done < <(compgen -G "${word#resume=}$pattern/.hydra/config.yaml")
        done
    else
        read -ra words <<< "${line% "$word"}"
        line="python train.py"
        for pattern in "${words[@]:2}"; do
            [[ $pattern == resume=* ]] || line+=" $pattern"  # Hydra cannot parse = in the name of a folder
        done
        line+=" $word"
        words=$(COMP_LINE=$line "${COMP_WORDS[0]}" "$_mlplab_train" -sc query=bash 2> /dev/null)
        COMPREPLY=($(compgen -W "$words" -- "$word"))
        compopt -o nospace 2> /dev/null
    fi
    replaced=${word##*[=:]}  # the shell splits words at = and :, and replaces only the last part
    COMPREPLY=("${COMPREPLY[@]#"${word%"$replaced"}"}")
}

complete -o bashdefault -o default -F _mlplab python python3
