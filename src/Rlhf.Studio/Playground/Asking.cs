using System.Diagnostics;
using Rlhf.Generation;
using Rlhf.Runtime;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Studio.Playground;

/// <summary>Lets a page ask one question at a time, show the answers as they come, and stop them.</summary>
public sealed class Asking : IDisposable
{
    private static readonly TimeSpan FrameTime = TimeSpan.FromMilliseconds(50);
    private readonly CancellationTokenSource leaving = new();
    private CancellationTokenSource? current;

    /// <summary>Answers are being written.</summary>
    public bool IsOn => current is not null;

    /// <summary>What is waited for, or how it ended; empty: nothing to say.</summary>
    public string Status { get; private set; } = "";

    /// <summary>What went wrong with the last question, or null.</summary>
    public string? Problem { get; private set; }

    /// <summary>Asks, unless an answer is still being written.</summary>
    /// <param name="ask">The question's events.</param>
    /// <param name="answers">Take what is written: the base model's answer, and the aligned model's.</param>
    /// <param name="draw">Called when there is something new to see, 20 times a second at most.</param>
    /// <param name="whole">The status when both answers are whole.</param>
    /// <returns>Were both answers written to their ends?</returns>
    public async Task<bool> RunAsync(
        Func<CancellationToken, IAsyncEnumerable<AnswerEvent>> ask, IReadOnlyList<WrittenAnswer> answers, Action draw, string whole = "")
    {
        if (IsOn)
            return false;
        using var stopping = current = CancellationTokenSource.CreateLinkedTokenSource(leaving.Token);
        (Status, Problem) = ("", null);
        try
        {
            var drawn = Stopwatch.StartNew();
            await foreach (var happened in ask(stopping.Token))
            {
                if (happened is Waiting waiting)
                    Status = waiting.Text;
                else if (WrittenAnswer.Give(answers, happened) && happened is TokenChosen)
                    Status = "";
                if (drawn.Elapsed < FrameTime && happened is TokenChosen)
                    continue;
                draw();
                drawn.Restart();
            }
            Status = whole;
            return true;
        }
        catch (OperationCanceledException)
        {
            Status = "Stopped.";
        }
        catch (Exception e) when (e is IOException or InvalidDataException or ArgumentException or ConfigurationException or ArithmeticException
            or InvalidOperationException or Rewards.RewardException or ChatTemplateException)
        {
            (Problem, Status) = (e.Message, "");
        }
        finally
        {
            current = null;
        }
        return false;
    }

    /// <summary>Stops the answers where they are.</summary>
    public void Stop() => current?.Cancel();

    /// <summary>Forgets how the last question ended.</summary>
    public void Forget() => (Status, Problem) = ("", null);

    /// <inheritdoc/>
    public void Dispose()
    {
        leaving.Cancel();
        leaving.Dispose();
    }
}
