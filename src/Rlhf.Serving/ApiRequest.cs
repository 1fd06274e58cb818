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
        catch (RequestException e)
        {
            await ApiErrors.WriteAsync(context, e.Status, new(e.Message, Param: e.Field, Code: e.Code));
        }
        catch (BadHttpRequestException e) when (!context.Response.HasStarted)
        {
            await ApiErrors.WriteAsync(context, e.StatusCode, new(e.Message));
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The client has left; there is nobody to answer.
        }
        catch (Exception e) when (!context.Response.HasStarted && !context.RequestAborted.IsCancellationRequested)
        {
            bool isExpected = e is IOException or InvalidDataException or NonFiniteLogitsException or ChatTemplateException;
            if (!isExpected)
                logs.CreateLogger("Rlhf.Serving").LogError(e, "A completion failed.");
            await ApiErrors.WriteAsync(context, StatusCodes.Status500InternalServerError,
                new(isExpected ? e.Message : $"Unexpected error ({e.GetType().Name}); the server's terminal tells more.", "server_error"));
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

    /// <summary>Each text of a request has a seed of its own.</summary>
    public static CompletionOptions Nth(CompletionOptions options, int index) => options with { Seed = unchecked(options.Seed + index) };

    public static string Reason(FinishReason finish) => finish == FinishReason.Stop ? "stop" : "length";
}
