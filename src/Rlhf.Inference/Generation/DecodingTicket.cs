using System.Diagnostics;
using System.Threading.Channels;

namespace Rlhf.Generation;

/// <summary>A token of a text that is being written.</summary>
/// <param name="Score">The token, its logprob under the model itself, and the likeliest tokens, where they are asked for.</param>
/// <param name="IsEnd">It is an end token, which is no part of the text.</param>
/// <param name="IsLast">No token follows.</param>
internal readonly record struct DecodedToken(TokenLogprobs Score, bool IsEnd, bool IsLast);

/// <summary>A row that waits in a <see cref="DecodingEngine"/> or is decoded by it, for the one who asked for it.</summary>
internal sealed class DecodingTicket(ResponseRow row)
{
    private readonly Channel<DecodedToken> tokens = Channel.CreateUnbounded<DecodedToken>(new() { SingleReader = true, SingleWriter = true });
    private readonly TaskCompletionSource left = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly long begun = Stopwatch.GetTimestamp();
    private long first, last;
    private volatile bool isUnwanted;

    public ResponseRow Row => row;

    /// <summary>The tokens as they are chosen; the end, or why there are no more.</summary>
    public ChannelReader<DecodedToken> Tokens => tokens.Reader;

    /// <summary>Done when the engine has nothing more to do with the row.</summary>
    public Task Left => left.Task;

    /// <summary>Time from its first token to its newest.</summary>
    public TimeSpan Writing => Stopwatch.GetElapsedTime(first, last);

    /// <summary>Nobody wants more of it.</summary>
    public bool IsUnwanted => isUnwanted;

    /// <summary>Says that nobody wants more of it: it leaves the batch before the next step.</summary>
    public void Leave() => isUnwanted = true;

    /// <summary>Hands the row's newest token over.</summary>
    public void Publish(IDecodingWatch? watch)
    {
        if (row.Failure is not null)
            return;
        long now = Stopwatch.GetTimestamp();
        if (row.ResponseLength == 1)
            first = now;
        if (row.ResponseLength == 1)
            watch?.FirstToken(row.QueryLength, Stopwatch.GetElapsedTime(begun, now));
        else
            watch?.NextToken(Stopwatch.GetElapsedTime(last, now));
        last = now;
        tokens.Writer.TryWrite(new(row.LastScore, row.EndedByEos, row.IsFinished));
    }

    /// <summary>Ends the row: by its failure, by another one, or because it is whole.</summary>
    public void Close(Exception? failure = null)
    {
        tokens.Writer.TryComplete(row.Failure ?? failure);
        left.TrySetResult();
    }
}
