using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Rlhf.Generation;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Serving;

/// <summary><c>POST /v1/chat/completions</c>: a chat model answers a conversation by its template.</summary>
internal static class ChatEndpoint
{
    private const string Example = """{"messages": [{"role": "user", "content": "Hello"}]}""";

    private sealed record Message(string? Role, string? Content, string? Refusal)
    {
        public static Message Of(string text) => new("assistant", text, null);
    }

    private sealed record Choice(int Index, Message Message, JsonObject? Logprobs, string FinishReason);

    private sealed record Answer(string Id, string Object, long Created, string Model, IReadOnlyList<Choice> Choices, TokenUsage Usage);

    /// <summary>What a piece adds to a message: on the first the role as well, on the last nothing.</summary>
    private sealed record Delta(
        [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Role,
        [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Content);

    private sealed record ChunkChoice(int Index, Delta Delta, JsonObject? Logprobs, string? FinishReason);

    private sealed record Chunk(string Id, string Object, long Created, string Model, IReadOnlyList<ChunkChoice> Choices,
        [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] TokenUsage? Usage);

    public static Task AnswerAsync(HttpContext context, IServedModels models, ServingLimits limits, ILoggerFactory logs) =>
        ApiRequest.RunAsync(context, logs, async () =>
        {
            var request = await ApiRequest.ReadAsync<ChatRequest>(context, Example);
            var (options, messages) = (request.Options(), request.Conversation());
            limits.CheckNew(request.MaxCompletionTokens, "max_completion_tokens");
            limits.CheckNew(request.MaxTokens, "max_tokens");
            using var model = await ApiRequest.ModelAsync(context, models, request.Model);
            var prompt = Prepare(model, request, messages, options, limits);
            limits.CheckPrompt(prompt.Ids.Length, "messages");
            string id = "chatcmpl-" + Guid.NewGuid().ToString("N");
            long created = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
            if (request.Stream == true)
                await StreamAsync(context, request, model, prompt, new(id, "chat.completion.chunk", created, model.Name, [], null));
            else
                await WriteAsync(context, request, model, prompt, new(id, "chat.completion", created, model.Name, [], TokenUsage.Of(0, 0)));
        });

    /// <summary>The prompt of a conversation; one that does not fit, or that the template refuses, is refused before the first word.</summary>
    private static ChatPrompt Prepare(ServedModel model, ChatRequest request, IReadOnlyList<ChatMessage> messages, CompletionOptions options,
        ServingLimits limits)
    {
        if (model.Template is not { } template)
            throw new RequestException($"The model '{model.Name}' has no chat template, so it knows no messages: start the server with "
                + "--chat-template FILE, or --chat-template chatml for the built-in ChatML, or send a text to /v1/completions.", "model")
            {
                Code = "no_chat_template",
            };
        ServingLimits.CheckTexts(request.Choices, model.Completer);
        try
        {
            // Not disposed: the completer is the model's.
            var prompt = new ChatCompleter(model.Completer, template).Prepare(messages, options, request.NewTokens, request.Rendering());
            var sampling = prompt.Options.Sampling;
            return prompt with
            {
                Options = prompt.Options with
                {
                    Sampling = sampling with { MaxNewTokens = Math.Min(sampling.MaxNewTokens, limits.MaxNewTokens ?? int.MaxValue) },
                },
            };
        }
        catch (ChatTemplateException e) when (e.IsRefusal)
        {
            throw new RequestException(e.Message, "messages");
        }
        catch (ChatTooLongException e)
        {
            throw new RequestException(e.Message, "messages") { Code = "context_length_exceeded" };
        }
    }

    private static async Task WriteAsync(HttpContext context, ChatRequest request, ServedModel model, ChatPrompt prompt, Answer answer)
    {
        var written = await model.Completer.CompleteAllAsync(
            [.. Enumerable.Repeat(prompt.Ids, request.Choices)], prompt.Options, context.RequestAborted);
        await context.Response.WriteAsJsonAsync(answer with
        {
            Choices = [.. written.Select((completion, i) => new Choice(i, Message.Of(completion.Text),
                ChatLogprobs.Of(model.Tokenizer, completion.Logprobs), ApiRequest.Reason(completion.Finish)))],
            Usage = TokenUsage.Of(prompt.Ids.Length, written.Sum(completion => completion.CompletionTokens)),
        }, ApiErrors.Json, context.RequestAborted);
    }

    private static async Task StreamAsync(HttpContext context, ChatRequest request, ServedModel model, ChatPrompt prompt, Chunk chunk)
    {
        using var stream = new EventStream(context);
        Task SendAsync(ChunkChoice choice) => stream.SendAsync(chunk with { Choices = [choice] });
        int completionTokens = 0;
        bool[] hasBegun = new bool[request.Choices];
        await RunningTexts.SendAsync(
            model.Completer.Start([.. Enumerable.Repeat(prompt.Ids, request.Choices)], prompt.Options),
            async (i, piece) =>
            {
                Interlocked.Add(ref completionTokens, piece.TokenIds.Count);
                if (!hasBegun[i])
                    await SendAsync(new(i, new("assistant", ""), null, null));
                hasBegun[i] = true;
                var logprobs = ChatLogprobs.Of(model.Tokenizer, piece.Logprobs);
                if (piece.Text.Length > 0 || logprobs is not null)
                    await SendAsync(new(i, new(null, piece.Text), logprobs, null));
                if (piece.Finish is { } finish)
                    await SendAsync(new(i, new(null, null), null, ApiRequest.Reason(finish)));
            }, context.RequestAborted);
        if (request.IncludesUsage)
            await stream.SendAsync(chunk with { Usage = TokenUsage.Of(prompt.Ids.Length, completionTokens) });
        await stream.EndAsync();
    }
}
