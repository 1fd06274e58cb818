using Microsoft.AspNetCore.Http;

namespace Rlhf.Serving;

/// <summary>Counts requests, knows which are being answered, and takes no new ones once the server is to end.</summary>
internal sealed class Traffic(ServingMetrics metrics)
{
    private static readonly string[] Paths = ["/v1/completions", "/v1/chat/completions", "/v1/models", "/health", "/metrics"];
    private readonly Lock gate = new();
    private readonly TaskCompletionSource idle = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int answering;
    private bool isStopping;

    /// <summary>Is the server to end?</summary>
    public bool IsStopping => Volatile.Read(ref isStopping);

    /// <summary>Takes no new requests; done when those that are being answered are.</summary>
    public Task StopAsync()
    {
        lock (gate)
        {
            isStopping = true;
            if (answering == 0)
                idle.TrySetResult();
        }
        return idle.Task;
    }

    /// <summary>The middleware.</summary>
    public async Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        if (!ApiErrors.Concerns(context))
            await next(context);
        else if (!Enter())
        {
            context.Response.Headers.Connection = "close";
            await ApiErrors.WriteAsync(context, StatusCodes.Status503ServiceUnavailable, ApiErrors.Stopping);
        }
        else
            try
            {
                await next(context);
            }
            finally
            {
                Leave();
            }
        string path = context.Request.Path.Value ?? "";
        metrics.Answered(Paths.FirstOrDefault(p => p == path) ?? (path.StartsWith("/v1/models/", StringComparison.Ordinal) ? "/v1/models" : "other"),
            context.RequestAborted.IsCancellationRequested ? StatusCodes.Status499ClientClosedRequest : context.Response.StatusCode);
    }

    private bool Enter()
    {
        lock (gate)
        {
            if (isStopping)
                return false;
            answering++;
            return true;
        }
    }

    private void Leave()
    {
        lock (gate)
            if (--answering == 0 && isStopping)
                idle.TrySetResult();
    }
}
