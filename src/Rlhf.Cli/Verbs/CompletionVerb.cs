using System.CommandLine;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Runtime;

namespace Rlhf.Cli.Verbs;

/// <summary><c>rlhf completion</c>: the script by which a shell completes commands, flags and their values.</summary>
internal static class CompletionVerb
{
    // Each asks the command for what can stand at the cursor (Completion); where it has nothing to say, such as for a path, the shell
    // completes file names.
    private const string Bash = """
        # Completion of rlhf in bash. In ~/.bashrc: eval "$(rlhf completion bash)"
        _rlhf() {
            local IFS=$'\n'
            COMPREPLY=($(command rlhf '[complete]' "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
        }
        complete -o bashdefault -o default -F _rlhf rlhf
        """;

    private const string Zsh = """
        #compdef rlhf
        # Completion of rlhf in zsh. In ~/.zshrc, after compinit: eval "$(rlhf completion zsh)"
        _rlhf() {
            local -a found
            found=(${(f)"$(command rlhf '[complete]' "${(@)words[2,CURRENT]}" 2>/dev/null)"})
            if (( $#found )); then compadd -- $found; else _files; fi
        }
        compdef _rlhf rlhf
        """;

    private const string Fish = """
        # Completion of rlhf in fish. In ~/.config/fish/config.fish: rlhf completion fish | source
        function __rlhf_complete
            set -l before (commandline --tokenize --cut-at-cursor --current-process)
            command rlhf '[complete]' $before[2..-1] (commandline --current-token --cut-at-cursor | string collect --allow-empty) 2>/dev/null
        end
        complete --command rlhf --arguments '(__rlhf_complete)'
        """;

    private const string PowerShell = """
        # Completion of rlhf in PowerShell. In $PROFILE: rlhf completion pwsh | Out-String | Invoke-Expression
        Register-ArgumentCompleter -Native -CommandName rlhf -ScriptBlock {
            param($word, $line, $cursor)
            $before = @($line.CommandElements | Select-Object -Skip 1 | Where-Object { $_.Extent.EndOffset -lt $cursor } |
                ForEach-Object { "$_" })
            & (Get-Command rlhf -CommandType Application)[0] '[complete]' @before "$word" |
                ForEach-Object { [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_) }
        }
        """;

    private static readonly Dictionary<string, string> Scripts =
        new() { ["bash"] = Bash, ["zsh"] = Zsh, ["fish"] = Fish, ["pwsh"] = PowerShell };

    public static Command Create()
    {
        var shell = new Argument<string>("shell") { Description = "bash, zsh, fish or pwsh." };
        shell.CompletionSources.Add([.. Scripts.Keys]);
        var command = new VerbCommand(
            "completion", "writes the script by which a shell completes commands, flags and values; its first line says where it goes.",
            ["rlhf completion bash", "rlhf completion pwsh"],
            new SettingsBinder(), context => Run(context.Command.GetRequiredValue(shell)));
        command.Add(shell);
        return command;
    }

    private static int Run(string shell)
    {
        if (!Scripts.TryGetValue(shell, out var script))
            throw new ConfigurationException([$"There is no completion for '{SettingValue.Shorten(shell)}'"
                + SettingsBinder.Suggest(shell, Scripts.Keys) + $" It is written for {string.Join(", ", Scripts.Keys)}."]);
        Console.Out.Write(script.ReplaceLineEndings("\n") + "\n");
        return ExitCode.Success;
    }
}
