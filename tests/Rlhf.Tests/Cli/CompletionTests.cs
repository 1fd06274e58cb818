using System.Diagnostics;
using Rlhf.Cli;
using Rlhf.Cli.Settings;

namespace Rlhf.Tests.Cli;

/// <summary>What a shell offers where the cursor stands.</summary>
public sealed class CompletionTests
{
    [Theory]
    [InlineData("pp", "ppo")]
    [InlineData("hub ", "cache download push whoami")]
    [InlineData("tokenizer train --kind w", "wordpiece")]
    [InlineData("ppo --kl-pe", "--kl-penalty")]
    [InlineData("ppo --kl-penalty ", "abs full kl mse")]
    [InlineData("ppo --kl-penalty a", "abs")]
    [InlineData("ppo --kl-penalty=a", "--kl-penalty=abs")]
    [InlineData("ppo --kl-penalty = a", "abs")]
    [InlineData("ppo --kl-penalty =", "abs full kl mse")]
    [InlineData("ppo --adaptive-kl-control=", "--adaptive-kl-control=false --adaptive-kl-control=true")]
    [InlineData("ppo --early-stopping --early", "")] // given already
    [InlineData("ppo --model ", "")] // a path: the shell's own
    [InlineData("generate ", "")]
    [InlineData("generate -- --temp", "")]
    [InlineData("completion ", "bash fish pwsh zsh")]
    [InlineData("no-such-verb --x ", "bench best-of chat classify")]
    public void Words_complete_what_is_typed(string line, string words)
    {
        var found = Completion.Of(CommandLine.Create(), line.Split(' '));
        Assert.StartsWith(words, string.Join(' ', found), StringComparison.Ordinal);
        Assert.True(words.Length > 0 || found.Count == 0, string.Join(' ', found));
    }

    [Fact]
    public void Each_shell_has_its_script_and_another_is_refused()
    {
        using var folder = new Fixtures.TemporaryFolder();
        foreach (string shell in (string[])["bash", "zsh", "fish", "pwsh"])
            Assert.Contains("[complete]", RlhfCommand.Succeed(folder.Path, "completion", shell).Output, StringComparison.Ordinal);
        Assert.Equal("rlhf: There is no completion for 'zhs'; did you mean 'zsh'? It is written for bash, zsh, fish, pwsh.\n",
            RlhfCommand.Run(folder.Path, "completion", "zhs").Error.ReplaceLineEndings("\n"));
        Assert.Equal("rlhf: unknown command '[suggest]'. See rlhf --help.\n",
            RlhfCommand.Run(folder.Path, "[suggest]", "ppo").Error.ReplaceLineEndings("\n"));
    }

    [Fact]
    public void Bash_completes_commands_flags_and_values()
    {
        Assert.SkipUnless(File.Exists("/bin/bash"), "There is no /bin/bash.");
        using var folder = new Fixtures.TemporaryFolder();
        string command = Path.Combine(folder.Path, "rlhf");
        File.WriteAllText(command, $"#!/bin/sh\nexec dotnet '{Path.Combine(AppContext.BaseDirectory, "Rlhf.Cli.dll")}' \"$@\"\n");
        File.SetUnixFileMode(command, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        File.WriteAllText(Path.Combine(folder.Path, "reviews.csv"), "");
        Assert.Equal("rlhf generate ", Typed(folder.Path, "rlhf gen\t"));
        Assert.Equal("rlhf ppo --init-kl-coef ", Typed(folder.Path, "rlhf ppo --init\t"));
        Assert.Equal("rlhf ppo --kl-penalty mse ", Typed(folder.Path, "rlhf ppo --kl-penalty m\t"));
        Assert.Equal("rlhf ppo --kl-penalty=mse ", Typed(folder.Path, "rlhf ppo --kl-penalty=m\t"));
        Assert.Equal("rlhf sft --dataset reviews.csv ", Typed(folder.Path, "rlhf sft --dataset rev\t"));
    }

    /// <summary>What a line is after bash's own completion of it.</summary>
    private static string Typed(string folder, string keys)
    {
        var start = new ProcessStartInfo("/bin/bash")
        {
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        // An interactive bash, whose key Ctrl-X Ctrl-E is bound to writing the line down.
        foreach (string argument in (string[])["--norc", "--noprofile", "-i"])
            start.ArgumentList.Add(argument);
        start.Environment["PATH"] = folder + ":" + Environment.GetEnvironmentVariable("PATH");
        start.Environment["TERM"] = "dumb";
        start.Environment["HISTFILE"] = "";
        using var bash = Process.Start(start)!;
        bash.StandardInput.Write("set +o history; eval \"$(rlhf completion bash)\"\n"
            + "write() { printf '<%s>' \"$READLINE_LINE\" > line; exit; }; set -o emacs; bind -x '\"\\C-g\": write'\n"
            + keys + "\u0007");
        bash.StandardInput.Flush();
        var output = bash.StandardOutput.ReadToEndAsync();
        var error = bash.StandardError.ReadToEndAsync();
        if (!bash.WaitForExit(RlhfCommand.Limit))
        {
            bash.Kill(entireProcessTree: true);
            Assert.Fail($"bash did not end: {output.Result}{error.Result}");
        }
        string line = Path.Combine(folder, "line");
        Assert.True(File.Exists(line), $"{output.Result}{error.Result}");
        return File.ReadAllText(line)[1..^1];
    }
}
