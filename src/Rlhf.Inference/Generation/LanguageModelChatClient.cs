using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;
using Rlhf.Runtime;
using Message = Rlhf.Tokenizers.Chat.ChatMessage;

namespace Rlhf.Generation;

/// <summary>
/// A language model behind Microsoft.Extensions.AI's <see cref="IChatClient"/>, for programs that are written against it. With a
/// <see cref="ChatCompleter"/> the model's chat template writes the messages, and answers end as its turns do. A base model knows no roles: it
/// continues the text of the messages.
/// </summary>
public sealed class LanguageModelChatClient : IChatClient
{
    private delegate (int[] Ids, CompletionOptions Options) PromptOf(IEnumerable<ChatMessage> messages, CompletionOptions options, int? most);

    private readonly ChatClientMetadata metadata;
    private readonly TextCompleter completer;
    private readonly ChatCompleter? chat;
    private readonly string modelId;
    private readonly PromptOf promptOf;

    /// <summary>A chat model.</summary>
    /// <param name="chat">Writes the answers; disposed with the client.</param>
    /// <param name="modelId">Name of the model, for the answers.</param>
    public LanguageModelChatClient(ChatCompleter chat, string modelId)
        : this((chat ?? throw new ArgumentNullException(nameof(chat))).Completer, modelId, (messages, options, most) =>
        {
            var prompt = chat.Prepare([.. messages.Select(Converted)], options, most);
            return (prompt.Ids, prompt.Options);
        }) => this.chat = chat;

    /// <summary>A base model, which continues texts.</summary>
    /// <param name="completer">Writes the text; disposed with the client.</param>
    /// <param name="modelId">Name of the model, for the answers.</param>
    /// <param name="prompt">Makes the prompt of the messages; null: their texts, one after another on lines of their own.</param>
    public LanguageModelChatClient(TextCompleter completer, string modelId, Func<IEnumerable<ChatMessage>, string>? prompt = null)
        : this(completer, modelId, (messages, options, most) =>
        {
            if (most is { } tokens)
                options = options with { Sampling = options.Sampling with { MaxNewTokens = tokens } };
            ConfigurationException.ThrowIfAny([.. options.Sampling.Validate()]);
            string text = prompt is null ? string.Join('\n', messages.Select(m => m.Text)) : prompt(messages);
            return (completer.Encode(text, options.Sampling.MaxNewTokens), options);
        })
    {
    }

    private LanguageModelChatClient(TextCompleter completer, string modelId, PromptOf promptOf) =>
        (this.completer, this.modelId, this.promptOf, metadata) = (completer, modelId, promptOf, new("rlhf", defaultModelId: modelId));

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">Prompt and answer do not fit the model.</exception>
    /// <exception cref="Tokenizers.Chat.ChatTemplateException">The template refuses the conversation.</exception>
    /// <exception cref="ConfigurationException">A sampling setting is impossible.</exception>
    /// <exception cref="NotSupportedException">The options ask for what the model cannot do, such as tools.</exception>
    public async Task<ChatResponse> GetResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        var (ids, how) = Prompt(messages, options);
        var completion = await completer.CompleteAsync(ids, how, cancellationToken).ConfigureAwait(false);
        return new(new ChatMessage(ChatRole.Assistant, completion.Text))
        {
            ModelId = modelId,
            CreatedAt = DateTimeOffset.UtcNow,
            FinishReason = Reason(completion.Finish),
            Usage = Usage(completion.PromptTokens, completion.CompletionTokens),
        };
    }

    /// <inheritdoc/>
    /// <remarks>The last update carries the usage.</remarks>
    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null,
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        string id = Guid.NewGuid().ToString("N");
        var (ids, how) = Prompt(messages, options);
        int tokens = 0;
        await foreach (var piece in completer.StreamAsync(ids, how, cancellationToken).ConfigureAwait(false))
        {
            tokens += piece.TokenIds.Count;
            ChatResponseUpdate update = new(ChatRole.Assistant, piece.Text)
            {
                ResponseId = id,
                MessageId = id,
                ModelId = modelId,
                CreatedAt = DateTimeOffset.UtcNow,
                FinishReason = piece.Finish is { } finish ? Reason(finish) : null,
            };
            if (piece.Finish is not null)
                update.Contents.Add(new UsageContent(Usage(ids.Length, tokens)));
            yield return update;
        }
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null) => serviceKey is not null ? null
        : serviceType == typeof(ChatClientMetadata) ? metadata
        : serviceType == typeof(TextCompleter) ? completer
        : serviceType == typeof(ChatCompleter) ? chat
        : serviceType.IsInstanceOfType(this) ? this : null;

    /// <inheritdoc/>
    public void Dispose() => completer.Dispose();

    private (int[] Ids, CompletionOptions Options) Prompt(IEnumerable<ChatMessage> messages, ChatOptions? options) => promptOf(
        options?.Instructions is { Length: > 0 } instructions ? messages.Prepend(new(ChatRole.System, instructions)) : messages,
        Options(options), options?.MaxOutputTokens);

    /// <summary>A message as templates read it: its role and its text.</summary>
    private static Message Converted(ChatMessage message)
    {
        if (message.Contents.FirstOrDefault(c => c is not (TextContent or TextReasoningContent or UsageContent)) is { } other)
            throw new NotSupportedException(
                $"A message has {other.GetType().Name}; the model reads texts alone, neither tools nor pictures.");
        var made = new Message(message.Role.Value, message.Text);
        return message.AuthorName is { Length: > 0 } name ? made.With("name", System.Text.Json.JsonSerializer.SerializeToElement(name)) : made;
    }

    private static UsageDetails Usage(int promptTokens, int completionTokens) => new()
    {
        InputTokenCount = promptTokens,
        OutputTokenCount = completionTokens,
        TotalTokenCount = promptTokens + completionTokens,
    };

    private static ChatFinishReason Reason(FinishReason finish) =>
        finish == FinishReason.Stop ? ChatFinishReason.Stop : ChatFinishReason.Length;

    private static CompletionOptions Options(ChatOptions? options)
    {
        if (options is null)
            return new() { Seed = Random.Shared.NextInt64() };
        if (options.Tools is { Count: > 0 } || options.ResponseFormat is ChatResponseFormatJson)
            throw new NotSupportedException("The model calls no tools and promises no JSON; leave Tools and ResponseFormat out.");
        if (options.ConversationId is not null)
            throw new NotSupportedException("No conversation is kept here; leave ConversationId out and give all messages.");
        if (options.FrequencyPenalty is not (null or 0) || options.PresencePenalty is not (null or 0))
            throw new NotSupportedException(
                "FrequencyPenalty and PresencePenalty are not supported; use GenerationConfig.RepetitionPenalty.");
        return new()
        {
            Sampling = new CompletionOptions().Sampling with
            {
                DoSample = options.Temperature is not 0,
                Temperature = options.Temperature is { } t and not 0 ? t : 1,
                TopK = options.TopK ?? 0,
                TopP = options.TopP ?? 1,
            },
            Stop = [.. options.StopSequences ?? []],
            Seed = options.Seed ?? Random.Shared.NextInt64(),
        };
    }
}
