using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Rlhf.Generation;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Serving;

/// <summary>What every request of the API goes through: its body, its model, and what may go wrong.</summary>
internal static class ApiRequest
{
    /// <summary>Answers, or says in the API's form why not. Nobody is answered who has left.</summary>
    public static async Task RunAsync(HttpContext context, ILoggerFactory logs, Func<Task> answer)
    {
        try
        {
            await answer();
        }
        catch when (context.RequestAborted.IsCancellationRequested)
        {
            // The client has left; there is nobody to answer.
        }
        catch (Exception e)
        {
            var (status, problem, retryAfter) = Explain(e, logs);
            if (!context.Response.HasStarted)
                await ApiErrors.WriteAsync(context, status, problem, retryAfter);
            else if (EventStream.HasBegun(context))
            {
                using var stream = new EventStream(context);
                await stream.SendAsync(new { Error = problem });
                await stream.EndAsync();
            }
            else
                throw;
        }
    }

    /// <summary>What an error is to the client.</summary>
    private static (int Status, ApiErrors.Problem Problem, TimeSpan? RetryAfter) Explain(Exception error, ILoggerFactory logs)
    {
        switch (error)
        {
            case RequestException e:
                return (e.Status, new(e.Message, Param: e.Field, Code: e.Code), e.RetryAfter);
            case BadHttpRequestException e:
                return (e.StatusCode, new(e.Message), null);
            case TooManyWaitingException e:
                return (StatusCodes.Status429TooManyRequests, new(e.Message, "rate_limit_error", Code: "too_many_waiting"), e.RetryAfter);
            case ObjectDisposedException:
                return (StatusCodes.Status503ServiceUnavailable, ApiErrors.Stopping, null);
            case IOException or InvalidDataException or NonFiniteLogitsException or ChatTemplateException:
                return (StatusCodes.Status500InternalServerError, new(error.Message, ApiErrors.ServerError), null);
            default:
                logs.CreateLogger("Rlhf.Serving").LogError(error, "A completion failed.");
                return (StatusCodes.Status500InternalServerError,
                    new($"Unexpected error ({error.GetType().Name}); the server's terminal tells more.", ApiErrors.ServerError), null);
        }
    }

    /// <summary>The body of a request.</summary>
    /// <param name="context">The request.</param>
    /// <param name="example">A body that works.</param>
    /// <exception cref="RequestException">It is none; the message says where.</exception>
    public static async Task<T> ReadAsync<T>(HttpContext context, string example)
    {
        try
        {
            return await JsonSerializer.DeserializeAsync<T>(context.Request.Body, ApiErrors.Json, context.RequestAborted)
                ?? throw new JsonException();
        }
        catch (JsonException e)
        {
            throw RequestException.Of(e, typeof(T), example);
        }
        catch (InvalidOperationException)
        {
            throw new RequestException($"The body {JsonTexts.HalfCharacter}");
        }
    }

    /// <summary>The model that a request names, or the first.</summary>
    /// <exception cref="RequestException">It is not here.</exception>
    public static Task<ServedModel> ModelAsync(HttpContext context, IServedModels models, string? asked)
    {
        var names = models.Names();
        string? name = asked is null ? names.FirstOrDefault() : names.FirstOrDefault(n => n == asked);
        return name is null ? throw NoModel(models, asked) : models.TakeAsync(name, context.RequestAborted);
    }

    /// <summary>What is said of a model that is not here.</summary>
    public static RequestException NoModel(IServedModels models, string? asked) => new(models.Names() is { Count: > 0 } names
        ? $"The model '{asked}' is not here. There are: {string.Join(", ", names)}." : models.NothingYet, "model")
    {
        Status = StatusCodes.Status404NotFound,
        Code = "model_not_found",
    };

    public static string Reason(FinishReason finish) => finish == FinishReason.Stop ? "stop" : "length";
}
