using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace Rlhf.Serving;

/// <summary>An answer in pieces, as server-sent events.</summary>
internal sealed class EventStream(HttpContext context)
{
    /// <summary>Sends a piece at once.</summary>
    public Task SendAsync<T>(T piece) => WriteAsync(JsonSerializer.Serialize(piece, ApiErrors.Json));

    /// <summary>Says that nothing follows.</summary>
    public Task EndAsync() => WriteAsync("[DONE]");

    private async Task WriteAsync(string data)
    {
        if (!context.Response.HasStarted)
        {
            context.Response.ContentType = "text/event-stream; charset=utf-8";
            context.Response.Headers.CacheControl = "no-cache";
        }
        await context.Response.WriteAsync($"data: {data}\n\n", context.RequestAborted);
        await context.Response.Body.FlushAsync(context.RequestAborted);
    }
}
