using System.Runtime.ExceptionServices;
using Rlhf.Generation;

namespace Rlhf.Serving;

/// <summary>Texts of one request that are written at once and sent as they grow.</summary>
internal static class RunningTexts
{
    /// <summary>Sends the pieces of all texts, each as soon as it is certain; when one fails or the client leaves, none is written any more.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="send">Sends a piece of the text of a number.</param>
    /// <param name="cancellation">Cancelled when the client leaves.</param>
    public static async Task SendAsync(
        IReadOnlyList<RunningCompletion> texts, Func<int, CompletionPiece, Task> send, CancellationToken cancellation)
    {
        using var leaving = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        ExceptionDispatchInfo? failure = null;
        await Task.WhenAll(texts.Select(SendOneAsync));
        failure?.Throw();

        async Task SendOneAsync(RunningCompletion text, int index)
        {
            await using (text)
                try
                {
                    await foreach (var piece in text.PiecesAsync(joins: true, leaving.Token))
                        await send(index, piece);
                }
                catch (Exception e)
                {
                    // The first of them is why the others end.
                    Interlocked.CompareExchange(ref failure, ExceptionDispatchInfo.Capture(e), null);
                    await leaving.CancelAsync();
                }
        }
    }
}
