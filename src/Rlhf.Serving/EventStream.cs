using System.Buffers;
using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace Rlhf.Serving;

/// <summary>An answer in pieces, as server-sent events. Several texts may be sent at once.</summary>
internal sealed class EventStream(HttpContext context) : IDisposable
{
    private const string ContentType = "text/event-stream; charset=utf-8";
    private readonly SemaphoreSlim turn = new(1);

    /// <summary>Has the answer to a request begun as a stream?</summary>
    public static bool HasBegun(HttpContext context) => context.Response.HasStarted && context.Response.ContentType == ContentType;

    /// <summary>Sends a piece at once.</summary>
    public Task SendAsync<T>(T piece) => WriteAsync(JsonSerializer.SerializeToUtf8Bytes(piece, ApiErrors.Json));

    /// <summary>Says that nothing follows.</summary>
    public Task EndAsync() => WriteAsync("[DONE]"u8.ToArray());

    /// <inheritdoc/>
    public void Dispose() => turn.Dispose();

    private async Task WriteAsync(byte[] data)
    {
        await turn.WaitAsync(context.RequestAborted);
        try
        {
            if (!context.Response.HasStarted)
            {
                context.Response.ContentType = ContentType;
                context.Response.Headers.CacheControl = "no-cache";
                await context.Response.StartAsync(context.RequestAborted);
            }
            var writer = context.Response.BodyWriter;
            writer.Write("data: "u8);
            writer.Write(data);
            writer.Write("\n\n"u8);
            await writer.FlushAsync(context.RequestAborted);
        }
        finally
        {
            turn.Release();
        }
    }
}
