using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;
using Rlhf.Runtime;

namespace Rlhf.Generation;

/// <summary>
/// A language model behind Microsoft.Extensions.AI's <see cref="IChatClient"/>, for programs that are written against it. A base
/// model knows no roles: it continues the text of the messages.
/// </summary>
/// <param name="completer">Writes the text; disposed with the client.</param>
/// <param name="modelId">Name of the model, for the answers.</param>
/// <param name="prompt">Makes the prompt of the messages; null: their texts, one after another on lines of their own.</param>
public sealed class LanguageModelChatClient(
    TextCompleter completer, string modelId, Func<IEnumerable<ChatMessage>, string>? prompt = null) : IChatClient
{
    private readonly ChatClientMetadata metadata = new("rlhf", defaultModelId: modelId);

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">Prompt and answer do not fit the model.</exception>
    /// <exception cref="ConfigurationException">A sampling setting is impossible.</exception>
    /// <exception cref="NotSupportedException">The options ask for what a base model cannot do, such as tools.</exception>
    public async Task<ChatResponse> GetResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        var completion = await completer.CompleteAsync(Prompt(messages), Options(options), cancellationToken).ConfigureAwait(false);
        return new(new ChatMessage(ChatRole.Assistant, completion.Text))
        {
            ModelId = modelId,
            CreatedAt = DateTimeOffset.UtcNow,
            FinishReason = Reason(completion.Finish),
            Usage = new()
            {
                InputTokenCount = completion.PromptTokens,
                OutputTokenCount = completion.CompletionTokens,
                TotalTokenCount = completion.PromptTokens + completion.CompletionTokens,
            },
        };
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null,
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        string id = Guid.NewGuid().ToString("N");
        await foreach (var piece in completer.StreamAsync(Prompt(messages), Options(options), cancellationToken).ConfigureAwait(false))
            yield return new(ChatRole.Assistant, piece.Text)
            {
                ResponseId = id,
                MessageId = id,
                ModelId = modelId,
                CreatedAt = DateTimeOffset.UtcNow,
                FinishReason = piece.Finish is { } finish ? Reason(finish) : null,
            };
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null) => serviceKey is not null ? null
        : serviceType == typeof(ChatClientMetadata) ? metadata
        : serviceType == typeof(TextCompleter) ? completer
        : serviceType.IsInstanceOfType(this) ? this : null;

    /// <inheritdoc/>
    public void Dispose() => completer.Dispose();

    private string Prompt(IEnumerable<ChatMessage> messages) =>
        prompt is null ? string.Join('\n', messages.Select(m => m.Text)) : prompt(messages);

    private static ChatFinishReason Reason(FinishReason finish) =>
        finish == FinishReason.Stop ? ChatFinishReason.Stop : ChatFinishReason.Length;

    private static CompletionOptions Options(ChatOptions? options)
    {
        if (options is null)
            return new() { Seed = Random.Shared.NextInt64() };
        if (options.Tools is { Count: > 0 } || options.ResponseFormat is ChatResponseFormatJson)
            throw new NotSupportedException(
                "A base language model calls no tools and promises no JSON; leave Tools and ResponseFormat out.");
        if (options.FrequencyPenalty is not (null or 0) || options.PresencePenalty is not (null or 0))
            throw new NotSupportedException(
                "FrequencyPenalty and PresencePenalty are not supported; use GenerationConfig.RepetitionPenalty.");
        var sampling = new CompletionOptions().Sampling with
        {
            DoSample = options.Temperature is not 0,
            Temperature = options.Temperature is { } t and not 0 ? t : 1,
            TopK = options.TopK ?? 0,
            TopP = options.TopP ?? 1,
        };
        return new()
        {
            Sampling = options.MaxOutputTokens is { } most ? sampling with { MaxNewTokens = most } : sampling,
            Stop = [.. options.StopSequences ?? []],
            Seed = options.Seed ?? Random.Shared.NextInt64(),
        };
    }
}
