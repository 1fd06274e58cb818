using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Rlhf.Generation;

namespace Rlhf.Serving;

/// <summary><c>POST /v1/completions</c>: a model continues texts.</summary>
internal static class CompletionsEndpoint
{
    private const string Example = """{"prompt": "This movie was"}""";

    private sealed record Choice(string Text, int Index, object? Logprobs, string? FinishReason);

    private sealed record Answer(string Id, string Object, long Created, string Model, IReadOnlyList<Choice> Choices, TokenUsage? Usage);

    public static Task AnswerAsync(HttpContext context, IServedModels models, ServingLimits limits, ILoggerFactory logs) =>
        ApiRequest.RunAsync(context, logs, async () =>
        {
            var request = await ApiRequest.ReadAsync<CompletionRequest>(context, Example);
            limits.CheckNew(request.MaxTokens, "max_tokens");
            if (request.NewTokens > limits.MaxNewTokens)
                request = request with { MaxTokens = limits.MaxNewTokens };
            var (options, prompts) = (request.Options(), request.Prompts());
            using var model = await ApiRequest.ModelAsync(context, models, request.Model);
            ServingLimits.CheckTexts((long)prompts.Length * request.Choices, model.Completer);
            int[][] ids = [.. prompts.Select(prompt => Encode(model.Completer, prompt, request.NewTokens))];
            foreach (int[] prompt in ids)
                limits.CheckPrompt(prompt.Length, "prompt");
            var answer = new Answer("cmpl-" + Guid.NewGuid().ToString("N"), "text_completion", DateTimeOffset.UtcNow.ToUnixTimeSeconds(),
                model.Name, [], null);
            if (request.Stream == true)
                await StreamAsync(context, request, answer, model, prompts, ids, options);
            else
                await WriteAsync(context, request, answer, model, prompts, ids, options);
        });

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
            throw new RequestException(e.Message.Split(" (Parameter ")[0], "prompt") { Code = e is ArgumentOutOfRangeException ? "context_length_exceeded" : null };
        }
    }

    private static async Task WriteAsync(HttpContext context, CompletionRequest request, Answer answer, ServedModel model,
        CompletionPrompt[] prompts, int[][] ids, CompletionOptions options)
    {
        // All choices of all prompts in one batch.
        int[] promptOf = [.. Enumerable.Range(0, prompts.Length * request.Choices).Select(i => i / request.Choices)];
        var written = request.NewTokens == 0
            ? [.. promptOf.Select(p => new TextCompletion("", ids[p].Length, 0, FinishReason.Length))]
            : await model.Completer.CompleteAllAsync([.. promptOf.Select(p => ids[p])], options, context.RequestAborted);
        bool echoes = request.Echo == true;
        var promptScores = echoes && request.Logprobs is { } top
            ? await model.Completer.ScoreAsync(ids, top, context.RequestAborted) : null;
        var choices = written.Select((completion, i) =>
        {
            int p = promptOf[i];
            (int, TokenLogprobs?)[] echoed = promptScores is null ? []
                : [.. ids[p].Select((id, t) => (id, t == 0 ? null : promptScores[p][t - 1]))];
            var logprobs = request.Logprobs is null ? null : CompletionLogprobs.Of(model.Tokenizer,
                echoed.Concat((completion.Logprobs ?? []).Select(token => (token.Id, (TokenLogprobs?)token))),
                echoed.Length == 0 ? 0 : BeforeText(model, prompts[p], ids[p]));
            return new Choice((echoes ? Text(model, prompts[p]) : "") + completion.Text, i, logprobs, ApiRequest.Reason(completion.Finish));
        }).ToArray();
        await context.Response.WriteAsJsonAsync(answer with
        {
            Choices = choices,
            Usage = TokenUsage.Of(ids.Sum(p => p.Length), written.Sum(completion => completion.CompletionTokens)),
        }, ApiErrors.Json, context.RequestAborted);
    }

    /// <summary>Tokens at the beginning of a prompt that the tokenizer put before its text.</summary>
    private static int BeforeText(ServedModel model, CompletionPrompt prompt, int[] ids) => prompt.Text is not { } text ? 0
        : ids.TakeWhile(id => model.Tokenizer.Decode([id], skipSpecialTokens: true).Length == 0
            && !text.StartsWith(model.Tokenizer.Decode([id]), StringComparison.Ordinal)).Count();

    private static string Text(ServedModel model, CompletionPrompt prompt) => prompt.Text ?? model.Tokenizer.Decode(prompt.Ids!);

    private static async Task StreamAsync(HttpContext context, CompletionRequest request, Answer answer, ServedModel model,
        CompletionPrompt[] prompts, int[][] ids, CompletionOptions options)
    {
        using var stream = new EventStream(context);
        Task SendAsync(Choice choice) => stream.SendAsync(answer with { Choices = [choice] });
        int completionTokens = 0;
        int[] promptOf = [.. Enumerable.Range(0, prompts.Length * request.Choices).Select(i => i / request.Choices)];
        string[] echoes = [.. promptOf.Select(p => request.Echo == true ? Text(model, prompts[p]) : "")];
        if (request.NewTokens == 0)
            for (int i = 0; i < echoes.Length; i++)
                await SendAsync(new(echoes[i], i, null, ApiRequest.Reason(FinishReason.Length)));
        else
            await RunningTexts.SendAsync(model.Completer.Start([.. promptOf.Select(p => ids[p])], options), async (i, piece) =>
            {
                Interlocked.Add(ref completionTokens, piece.TokenIds.Count);
                await SendAsync(new(echoes[i] + piece.Text, i, null, piece.Finish is { } finish ? ApiRequest.Reason(finish) : null));
                echoes[i] = "";
            }, context.RequestAborted);
        if (request.IncludesUsage)
            await stream.SendAsync(answer with { Usage = TokenUsage.Of(ids.Sum(p => p.Length), completionTokens) });
        await stream.EndAsync();
    }
}
