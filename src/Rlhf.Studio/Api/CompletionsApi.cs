using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Logging;
using Rlhf.Generation;
using Rlhf.Studio.Playground;
using Rlhf.Tokenizers;

namespace Rlhf.Studio.Api;

/// <summary>
/// <c>/v1/models</c> and <c>/v1/completions</c> in the form of OpenAI's API, so that existing clients can write with an aligned model.
/// </summary>
internal static class CompletionsApi
{
    private sealed record Choice(string Text, int Index, object? Logprobs, string? FinishReason);

    private sealed record Usage(int PromptTokens, int CompletionTokens, int TotalTokens);

    private sealed record Answer(string Id, string Object, long Created, string Model, IReadOnlyList<Choice> Choices, Usage? Usage);

    public static void MapCompletions(this IEndpointRouteBuilder app)
    {
        app.MapGet("/v1/models", (ModelChoices models, StudioOptions options) => Results.Json(
            new { Object = "list", Data = Models(models, options).Select(m => Described(m.Name)) }, ApiErrors.Json));
        // A run in a subfolder has a slash in its name. Clients write it as it is or as %2F, which the server leaves as it is.
        app.MapGet("/v1/models/{**name}", (string name, HttpContext context, ModelChoices models, StudioOptions options) =>
        {
            var known = Models(models, options);
            static string Plain(string name) => name.Replace("%2F", "/", StringComparison.OrdinalIgnoreCase);
            string? found = known.Select(m => m.Name).OrderByDescending(n => n == name).FirstOrDefault(n => Plain(n) == Plain(name));
            return found is not null ? context.Response.WriteAsJsonAsync(Described(found), ApiErrors.Json, context.RequestAborted)
                : ApiErrors.WriteAsync(context, StatusCodes.Status404NotFound, NoModel(name, known));
        });
        app.MapPost("/v1/completions", CompleteAsync).DisableAntiforgery(); // for programs; HostCheck refuses pages of other sites
    }

    private static object Described(string model) => new { Id = model, Object = "model", Created = 0, OwnedBy = "rlhf" };

    private static ApiErrors.Problem NoModel(string? asked, List<(string Name, string Folder)> known) => new(known.Count == 0
            ? "There is no model yet: train one with rlhf sft or rlhf ppo, or start the studio with --model."
            : $"The model '{asked}' is not here. There are: {string.Join(", ", known.Select(m => m.Name))}.",
        Param: "model", Code: "model_not_found");

    private static async Task CompleteAsync(HttpContext context, ModelChoices models, ModelShelf shelf, StudioOptions studio,
        ILoggerFactory logs)
    {
        try
        {
            var request = await ReadAsync(context);
            var (options, prompts) = (request.Options(), request.Prompts());
            var known = Models(models, studio);
            int chosen = request.Model is null ? 0 : known.FindIndex(m => m.Name == request.Model);
            if (chosen < 0 || chosen >= known.Count)
            {
                await ApiErrors.WriteAsync(context, StatusCodes.Status404NotFound, NoModel(request.Model, known));
                return;
            }
            var model = known[chosen];
            using var turn = await shelf.TakeAsync(context.RequestAborted);
            var (language, tokenizer) = await Task.Run(() => shelf.Model(model.Folder), context.RequestAborted);
            using var completer = new TextCompleter(language, tokenizer);
            int[][] ids = [.. prompts.Select(prompt => Encode(completer, prompt, request.NewTokens))];
            var answer = new Answer("cmpl-" + Guid.NewGuid().ToString("N"), "text_completion", DateTimeOffset.UtcNow.ToUnixTimeSeconds(),
                model.Name, [], null);
            if (request.Stream == true)
                await StreamAsync(context, request, answer, completer, tokenizer, prompts, ids, options);
            else
                await WriteAsync(context, request, answer, completer, tokenizer, prompts, ids, options);
        }
        catch (RequestException e)
        {
            await ApiErrors.WriteAsync(context, StatusCodes.Status400BadRequest, new(e.Message, Param: e.Field));
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
            bool isExpected = e is IOException or InvalidDataException or NonFiniteLogitsException;
            if (!isExpected)
                logs.CreateLogger("Rlhf.Studio.Api").LogError(e, "A completion failed.");
            await ApiErrors.WriteAsync(context, StatusCodes.Status500InternalServerError,
                new(isExpected ? e.Message : $"Unexpected error ({e.GetType().Name}); the studio's terminal tells more.", "server_error"));
        }
    }

    private static async Task<CompletionRequest> ReadAsync(HttpContext context)
    {
        try
        {
            return await JsonSerializer.DeserializeAsync<CompletionRequest>(context.Request.Body, ApiErrors.Json, context.RequestAborted)
                ?? throw new JsonException();
        }
        catch (JsonException e)
        {
            throw RequestException.Of(e);
        }
        catch (InvalidOperationException)
        {
            throw new RequestException("The body holds half of a surrogate pair, which is no character; send whole characters.");
        }
    }

    /// <summary>The tokens of a prompt; one that does not fit is refused before the first word is written.</summary>
    private static int[] Encode(TextCompleter completer, CompletionPrompt prompt, int newTokens)
    {
        try
        {
            if (prompt.Ids is null)
                return completer.Encode(prompt.Text!, newTokens);
            completer.CheckIds(prompt.Ids, newTokens);
            return prompt.Ids;
        }
        catch (ArgumentException e)
        {
            throw new RequestException(e.Message.Split(" (Parameter ")[0], "prompt");
        }
    }

    private static async Task WriteAsync(HttpContext context, CompletionRequest request, Answer answer, TextCompleter completer,
        ITokenizer tokenizer, CompletionPrompt[] prompts, int[][] ids, CompletionOptions options)
    {
        // All choices of all prompts in one batch.
        int[] promptOf = [.. Enumerable.Range(0, prompts.Length * request.Choices).Select(i => i / request.Choices)];
        var written = request.NewTokens == 0
            ? [.. promptOf.Select(p => new TextCompletion("", ids[p].Length, 0, FinishReason.Length))]
            : await completer.CompleteAllAsync([.. promptOf.Select(p => ids[p])], options, context.RequestAborted);
        int[][] rows = [.. written.Select((completion, i) => (int[])[.. ids[promptOf[i]], .. completion.TokenIds])];
        var scores = request.Logprobs is { } top ? await completer.ScoreAsync(rows, top, context.RequestAborted) : null;
        var choices = written.Select((completion, i) =>
        {
            bool echoes = request.Echo == true;
            string echo = echoes ? Text(tokenizer, prompts[promptOf[i]]) : "";
            return new Choice(echo + completion.Text, i, scores is null ? null
                : CompletionLogprobs.Of(tokenizer, rows[i], scores[i], echoes ? 0 : ids[promptOf[i]].Length), Reason(completion.Finish));
        }).ToArray();
        int promptTokens = ids.Sum(p => p.Length), completionTokens = written.Sum(completion => completion.CompletionTokens);
        await context.Response.WriteAsJsonAsync(answer with
        {
            Choices = choices,
            Usage = new(promptTokens, completionTokens, promptTokens + completionTokens),
        }, ApiErrors.Json, context.RequestAborted);
    }

    private static string Text(ITokenizer tokenizer, CompletionPrompt prompt) => prompt.Text ?? tokenizer.Decode(prompt.Ids!);

    private static async Task StreamAsync(HttpContext context, CompletionRequest request, Answer answer, TextCompleter completer,
        ITokenizer tokenizer, CompletionPrompt[] prompts, int[][] ids, CompletionOptions options)
    {
        context.Response.ContentType = "text/event-stream; charset=utf-8";
        context.Response.Headers.CacheControl = "no-cache";
        async Task SendAsync(string data)
        {
            await context.Response.WriteAsync($"data: {data}\n\n", context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
        }
        Task SendChoiceAsync(Choice choice) => SendAsync(JsonSerializer.Serialize(answer with { Choices = [choice] }, ApiErrors.Json));
        int index = 0, completionTokens = 0, promptTokens = ids.Sum(p => p.Length);
        for (int p = 0; p < prompts.Length; p++)
        {
            for (int i = 0; i < request.Choices; i++, index++)
            {
                string echo = request.Echo == true ? Text(tokenizer, prompts[p]) : "";
                if (request.NewTokens == 0)
                {
                    await SendChoiceAsync(new(echo, index, null, Reason(FinishReason.Length)));
                    continue;
                }
                await foreach (var piece in completer.StreamAsync(ids[p], Nth(options, index), context.RequestAborted))
                {
                    completionTokens += piece.TokenIds.Count;
                    await SendChoiceAsync(new(echo + piece.Text, index, null, piece.Finish is { } finish ? Reason(finish) : null));
                    echo = "";
                }
            }
        }
        if (request.StreamOptions?.IncludeUsage == true)
            await SendAsync(JsonSerializer.Serialize(
                answer with { Usage = new(promptTokens, completionTokens, promptTokens + completionTokens) }, ApiErrors.Json));
        await SendAsync("[DONE]");
    }

    /// <summary>Each text of a request has a seed of its own.</summary>
    private static CompletionOptions Nth(CompletionOptions options, int index) => options with { Seed = unchecked(options.Seed + index) };

    private static string Reason(FinishReason finish) => finish == FinishReason.Stop ? "stop" : "length";

    /// <summary>Aligned models, then what they are compared with, each under its name once; with neither, the model that ships.</summary>
    private static List<(string Name, string Folder)> Models(ModelChoices models, StudioOptions options)
    {
        var choices = models.List();
        if (choices.Count == 0 && options.ShippedModel is { } shipped)
            return [(Path.GetFileName(Path.TrimEndingDirectorySeparator(shipped)), shipped)];
        return [.. choices.Select(c => (c.Title, c.Aligned))
            .Concat(choices.Where(c => c.Base is not null).Select(c => (c.BaseTitle, c.Base!)))
            .DistinctBy(m => m.Item1)];
    }
}
