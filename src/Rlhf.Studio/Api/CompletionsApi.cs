using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Rlhf.Generation;
using Rlhf.Runtime;
using Rlhf.Studio.Playground;

namespace Rlhf.Studio.Api;

/// <summary>
/// <c>/v1/models</c> and <c>/v1/completions</c> in the form of OpenAI's API, so that existing clients can write with an aligned model.
/// </summary>
internal static class CompletionsApi
{
    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        DefaultIgnoreCondition = JsonIgnoreCondition.Never,
    };

    private sealed record Choice(string Text, int Index, object? Logprobs, string? FinishReason);

    private sealed record Usage(int PromptTokens, int CompletionTokens, int TotalTokens);

    private sealed record Answer(string Id, string Object, long Created, string Model, IReadOnlyList<Choice> Choices, Usage? Usage);

    private sealed record Problem(string Message, string Type, string? Param, string? Code);

    public static void MapCompletions(this IEndpointRouteBuilder app)
    {
        app.MapGet("/v1/models", (ModelChoices models) => Results.Json(
            new
            {
                Object = "list",
                Data = Models(models).Select(m => new { Id = m.Name, Object = "model", Created = 0, OwnedBy = "rlhf" }),
            }, Json));
        app.MapPost("/v1/completions", CompleteAsync).DisableAntiforgery(); // for programs; HostCheck refuses pages of other sites
    }

    private static async Task CompleteAsync(HttpContext context, ModelChoices models, ModelShelf shelf)
    {
        try
        {
            var request = await ReadAsync(context);
            var (options, prompts) = (request.Options(), request.Prompts());
            var known = Models(models);
            int chosen = request.Model is null ? 0 : known.FindIndex(m => m.Name == request.Model);
            if (chosen < 0 || chosen >= known.Count)
            {
                await WriteAsync(context, StatusCodes.Status404NotFound, new($"The model '{request.Model}' is not here. There are: "
                    + string.Join(", ", known.Select(m => m.Name)) + ".", "invalid_request_error", "model", "model_not_found"));
                return;
            }
            var model = known[chosen];
            using var turn = await shelf.TakeAsync(context.RequestAborted);
            var (language, tokenizer) = await Task.Run(() => shelf.Model(model.Folder), context.RequestAborted);
            using var completer = new TextCompleter(language, tokenizer);
            // What does not fit is refused before the first word.
            int promptTokens = prompts.Sum(prompt => completer.Encode(prompt, options.Sampling.MaxNewTokens).Length);
            var answer = new Answer("cmpl-" + Guid.NewGuid().ToString("N"), "text_completion", DateTimeOffset.UtcNow.ToUnixTimeSeconds(),
                model.Name, [], null);
            if (request.Stream == true)
                await StreamAsync(context, request, answer, completer, prompts, promptTokens, options);
            else
                await WriteAsync(context, request, answer, completer, prompts, promptTokens, options);
        }
        catch (Exception e) when (e is ConfigurationException or ArgumentException or JsonException or BadHttpRequestException
            && !context.Response.HasStarted)
        {
            int status = e is BadHttpRequestException http ? http.StatusCode : StatusCodes.Status400BadRequest;
            string message = e is ConfigurationException settings ? string.Join(" ", settings.Problems)
                : e is JsonException ? "The body is no JSON object of such a request: " + e.Message
                : e.Message.Split(" (Parameter ")[0];
            await WriteAsync(context, status, new(message, "invalid_request_error", null, null));
        }
        catch (Exception e) when (e is IOException or InvalidDataException or ArithmeticException && !context.Response.HasStarted
            && !context.RequestAborted.IsCancellationRequested)
        {
            await WriteAsync(context, StatusCodes.Status500InternalServerError, new(e.Message, "server_error", null, null));
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The client has left; there is nobody to answer.
        }
    }

    private static async Task<CompletionRequest> ReadAsync(HttpContext context) =>
        await JsonSerializer.DeserializeAsync<CompletionRequest>(context.Request.Body, Json, context.RequestAborted)
            ?? throw new JsonException("it is null.");

    private static async Task WriteAsync(HttpContext context, CompletionRequest request, Answer answer, TextCompleter completer,
        string[] prompts, int promptTokens, CompletionOptions options)
    {
        var choices = new List<Choice>();
        int completionTokens = 0;
        foreach (var prompt in prompts)
        {
            for (int i = 0; i < request.Choices; i++)
            {
                var written = await completer.CompleteAsync(prompt, Nth(options, choices.Count), context.RequestAborted);
                completionTokens += written.CompletionTokens;
                choices.Add(new((request.Echo == true ? prompt : "") + written.Text, choices.Count, null, Reason(written.Finish)));
            }
        }
        await context.Response.WriteAsJsonAsync(answer with
        {
            Choices = choices,
            Usage = new(promptTokens, completionTokens, promptTokens + completionTokens),
        }, Json, context.RequestAborted);
    }

    private static async Task StreamAsync(HttpContext context, CompletionRequest request, Answer answer, TextCompleter completer,
        string[] prompts, int promptTokens, CompletionOptions options)
    {
        context.Response.ContentType = "text/event-stream; charset=utf-8";
        context.Response.Headers.CacheControl = "no-cache";
        async Task SendAsync(string data)
        {
            await context.Response.WriteAsync($"data: {data}\n\n", context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
        }
        int index = 0, completionTokens = 0;
        foreach (var prompt in prompts)
        {
            for (int i = 0; i < request.Choices; i++, index++)
            {
                bool isFirst = true;
                await foreach (var piece in completer.StreamAsync(prompt, Nth(options, index), context.RequestAborted))
                {
                    completionTokens += piece.TokenIds.Count;
                    string text = (request.Echo == true && isFirst ? prompt : "") + piece.Text;
                    isFirst = false;
                    await SendAsync(JsonSerializer.Serialize(answer with
                    {
                        Choices = [new(text, index, null, piece.Finish is { } finish ? Reason(finish) : null)],
                    }, Json));
                }
            }
        }
        if (request.StreamOptions?.IncludeUsage == true)
            await SendAsync(JsonSerializer.Serialize(
                answer with { Usage = new(promptTokens, completionTokens, promptTokens + completionTokens) }, Json));
        await SendAsync("[DONE]");
    }

    private static Task WriteAsync(HttpContext context, int status, Problem problem)
    {
        context.Response.StatusCode = status;
        return context.Response.WriteAsJsonAsync(new { Error = problem }, Json, context.RequestAborted);
    }

    /// <summary>Each text of a request has a seed of its own.</summary>
    private static CompletionOptions Nth(CompletionOptions options, int index) => options with { Seed = unchecked(options.Seed + index) };

    private static string Reason(FinishReason finish) => finish == FinishReason.Stop ? "stop" : "length";

    /// <summary>Aligned models, then what they are compared with, each under its name once.</summary>
    private static List<(string Name, string Folder)> Models(ModelChoices models)
    {
        var choices = models.List();
        return [.. choices.Select(c => (c.Title, c.Aligned))
            .Concat(choices.Where(c => c.Base is not null).Select(c => (c.BaseTitle, c.Base!)))
            .DistinctBy(m => m.Item1)];
    }
}
