using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Rlhf.Runtime.Text;

namespace Rlhf.Rewards;

/// <summary>
/// Scores that a program gives. It is started once and fed a JSON object per line with <c>query</c>, <c>response</c>, <c>text</c>,
/// <c>fields</c> and, for conversations, <c>messages</c>; it answers each line with a number on a line of its own.
/// </summary>
/// <remarks>
/// What it writes to standard error is shown when it fails. A program that is too slow, fails or answers anything else is killed together
/// with the processes that it has started, and so it is when the reward is disposed of or its scores are not waited for any more.
/// </remarks>
public sealed class ExecReward : IRewardFunction
{
    private const int ErrorLines = 8;

    private readonly string program;
    private readonly IReadOnlyList<string> arguments;
    private readonly Queue<string> errors = [];
    private Process? process;

    /// <summary>A reward from a program.</summary>
    /// <param name="program">Its file, or its name in PATH.</param>
    /// <param name="arguments">What it is called with.</param>
    public ExecReward(string program, params IReadOnlyList<string> arguments) => (this.program, this.arguments) = (program, arguments);

    /// <summary>Name used in metrics and reports.</summary>
    public string Name { get; init; } = "exec";

    /// <summary>Longest time for the answers to one batch; 60 seconds by default.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>A reward from a command line: words, of which those with spaces stand in single or double quotes. No shell reads it.</summary>
    /// <exception cref="ArgumentException">It is empty, or a quote is not closed.</exception>
    public static ExecReward FromCommandLine(string commandLine, TimeSpan? timeout = null) => Words(commandLine) is [var program, .. var arguments]
        ? new ExecReward(program, arguments) { Timeout = timeout ?? TimeSpan.FromSeconds(60) }
        : throw new ArgumentException("The command line of the program is empty.", nameof(commandLine));

    /// <inheritdoc/>
    /// <exception cref="RewardException">The program cannot be started, fails, is too slow, or does not answer a number per line.</exception>
    public async ValueTask<IReadOnlyList<float>> ScoreAsync(IReadOnlyList<Completion> completions, CancellationToken cancellation = default)
    {
        if (completions.Count == 0)
            return [];
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        deadline.CancelAfter(Timeout);
        var scores = new float[completions.Count];
        int done = 0;
        try
        {
            var running = Running();
            // Written while answers are read: a program that answers at once would block on a full pipe otherwise.
            var writing = WriteAsync(running, completions, deadline.Token);
            for (; done < scores.Length; done++)
                scores[done] = await running.StandardOutput.ReadLineAsync(deadline.Token).ConfigureAwait(false) is { } line
                    ? Number(line, done) : throw await EndedAsync(running, done, scores.Length).ConfigureAwait(false);
            await writing.ConfigureAwait(false);
        }
        catch (OperationCanceledException e)
        {
            Kill();
            cancellation.ThrowIfCancellationRequested();
            throw Refuse($"gave {done} of {scores.Length} numbers within {Timeout.TotalSeconds:0.###} s", e);
        }
        catch
        {
            Kill();
            throw;
        }
        return RewardChecks.Check(Name, completions, scores);
    }

    /// <summary>Ends the program, and the processes that it has started.</summary>
    public void Dispose() => Kill();

    private Process Running()
    {
        if (process is { HasExited: false })
            return process;
        Kill();
        var start = new ProcessStartInfo(program)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardInputEncoding = new UTF8Encoding(false),
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
            UseShellExecute = false,
        };
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        var started = new Process { StartInfo = start };
        started.ErrorDataReceived += (_, line) => Remember(line.Data);
        try
        {
            started.Start();
        }
        catch (Exception e) when (e is Win32Exception or InvalidOperationException or IOException)
        {
            started.Dispose();
            throw Refuse($"cannot be started: {e.Message}", e);
        }
        started.BeginErrorReadLine();
        return process = started;
    }

    private async Task WriteAsync(Process running, IReadOnlyList<Completion> completions, CancellationToken cancellation)
    {
        try
        {
            foreach (var completion in completions)
                await running.StandardInput.WriteLineAsync(CompletionJson.Line(completion).AsMemory(), cancellation).ConfigureAwait(false);
            await running.StandardInput.FlushAsync(cancellation).ConfigureAwait(false);
        }
        catch (IOException)
        {
            // It reads no more; that it has ended is seen where its answers are read.
        }
    }

    private float Number(string line, int index) =>
        float.TryParse(line.Trim(), NumberStyles.Float, CultureInfo.InvariantCulture, out float number) ? number
            : throw Refuse($"answered {UntrustedText.Quote(line, 80)} to line {index + 1}, which is not a number; anything else belongs on standard error");

    private async Task<RewardException> EndedAsync(Process running, int done, int count)
    {
        // Unlike WaitForExit with a time limit, this waits for its last words on standard error, too.
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        try
        {
            await running.WaitForExitAsync(patience.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // It lives, or what it has started holds its standard error open.
        }
        string end = running.HasExited ? $"ended with exit code {running.ExitCode}" : "closed its output";
        return Refuse($"{end} after {done} of {count} numbers");
    }

    private RewardException Refuse(string what, Exception? cause = null)
    {
        string last;
        lock (errors)
            last = errors.Count == 0 ? "" : $" Its last words on standard error: {UntrustedText.Clean(string.Join(" | ", errors), 600)}";
        return new($"Reward '{Name}': {program} {what}.{last}", null, cause);
    }

    private void Remember(string? line)
    {
        if (string.IsNullOrWhiteSpace(line))
            return;
        lock (errors)
        {
            errors.Enqueue(line);
            if (errors.Count > ErrorLines)
                errors.Dequeue();
        }
    }

    private void Kill()
    {
        if (process is not { } running)
            return;
        process = null;
        using (running)
            try
            {
                running.Kill(entireProcessTree: true);
            }
            catch (Exception e) when (e is InvalidOperationException or Win32Exception or AggregateException)
            {
                // It has ended by itself.
            }
    }

    /// <summary>Words of a command line.</summary>
    /// <exception cref="ArgumentException">A quote is not closed.</exception>
    internal static string[] Words(string commandLine)
    {
        List<string> words = [];
        StringBuilder? word = null;
        char quote = '\0';
        foreach (char c in commandLine)
            if (quote != '\0' ? c == quote : c is '"' or '\'')
            {
                quote = quote == '\0' ? c : '\0';
                word ??= new();
            }
            else if (quote == '\0' && char.IsWhiteSpace(c))
            {
                if (word is not null)
                    words.Add(word.ToString());
                word = null;
            }
            else
                (word ??= new()).Append(c);
        if (quote != '\0')
            throw new ArgumentException($"The quote {quote} in {UntrustedText.Quote(commandLine, 80)} is not closed.", nameof(commandLine));
        return word is null ? [.. words] : [.. words, word.ToString()];
    }
}
