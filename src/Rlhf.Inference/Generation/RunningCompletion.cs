using System.Runtime.CompilerServices;
using System.Text;
using Rlhf.Tokenizers;

namespace Rlhf.Generation;

/// <summary>A text that is being written; who disposes it wants no more of it, and waits until the model has let go of it.</summary>
internal sealed class RunningCompletion(DecodingTicket ticket, ITokenizer tokenizer, CompletionOptions options) : IAsyncDisposable
{
    /// <summary>The text in pieces, each as soon as it is certain; to be read once.</summary>
    /// <param name="joins">Give pieces that are ready together as one.</param>
    /// <param name="cancellation">Stops between two tokens.</param>
    public async IAsyncEnumerable<CompletionPiece> PiecesAsync(
        bool joins = false, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        var (text, pending) = (new GrowingText(tokenizer), new PendingText(options.Stop));
        List<DecodedToken> fresh = [];
        string whole = "", certain = "";
        FinishReason? finish = null;
        while (finish is null && await ticket.Tokens.WaitToReadAsync(cancellation).ConfigureAwait(false))
        {
            while (finish is null && ticket.Tokens.TryRead(out var token))
            {
                fresh.Add(token);
                if (!token.IsEnd)
                    whole = text.Add(token.Score.Id);
                certain += pending.Add(whole, isWhole: token.IsLast, out bool stopped);
                finish = token.IsEnd || stopped ? FinishReason.Stop : token.IsLast ? FinishReason.Length : null;
                bool isReady = certain.Length > 0 && !(joins && ticket.Tokens.TryPeek(out _));
                if (!isReady && finish is null)
                    continue;
                yield return new(certain, [.. fresh.Select(t => t.Score.Id)], finish)
                {
                    Logprobs = options.TopLogprobs is null ? null : [.. fresh.Select(t => t.Score)],
                };
                certain = "";
                fresh.Clear();
            }
        }
    }

    /// <summary>The text once it is whole.</summary>
    /// <param name="cancellation">Stops between two tokens.</param>
    public async Task<TextCompletion> WholeAsync(CancellationToken cancellation = default)
    {
        var text = new StringBuilder();
        List<int> ids = [];
        List<TokenLogprobs>? logprobs = options.TopLogprobs is null ? null : [];
        var finish = FinishReason.Length;
        await foreach (var piece in PiecesAsync(joins: true, cancellation).ConfigureAwait(false))
        {
            text.Append(piece.Text);
            ids.AddRange(piece.TokenIds);
            logprobs?.AddRange(piece.Logprobs ?? []);
            finish = piece.Finish ?? finish;
        }
        return new(text.ToString(), ticket.Row.QueryLength, ids.Count, finish) { TokenIds = ids, Logprobs = logprobs };
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        ticket.Leave();
        await ticket.Left.ConfigureAwait(false);
    }
}
