using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;
using TorchSharp;

namespace Rlhf.Generation;

/// <summary>
/// Answers conversations with a chat model: its template writes them as text, and an answer ends where the template ends the
/// assistant's turn. May be used by several callers at once; the model writes all their answers in one batch.
/// </summary>
/// <remarks>
/// A conversation that is too long is refused, or, with <see cref="LongHistory.DropOldest"/>, loses its oldest exchanges (a user's message and
/// all up to the next one) until prompt and answer fit. System messages at the beginning and the last exchange always stay.
/// </remarks>
public sealed class ChatCompleter : IDisposable
{
    /// <summary>Most tokens of an answer whose length nobody has limited.</summary>
    public const int DefaultMaxTokens = 1024;

    private const int KeptForAnswer = 256;
    private readonly TextCompleter completer;
    private readonly ChatTemplate template;
    private readonly Lazy<ChatEnd> end;

    /// <param name="completer">Writes the answers; disposed with this.</param>
    /// <param name="template">The model's template.</param>
    public ChatCompleter(TextCompleter completer, ChatTemplate template)
    {
        (this.completer, this.template) = (completer, template);
        end = new(() => ChatEnd.Of(template, completer.Tokenizer));
    }

    /// <summary>What becomes of a conversation that does not fit the model. Default: it is refused.</summary>
    public LongHistory LongHistory { get; init; }

    /// <summary>What ends the assistant's turn in this template.</summary>
    public ChatEnd End => end.Value;

    /// <summary>Writes the answers.</summary>
    public TextCompleter Completer => completer;

    /// <summary>Loads a model folder with its template.</summary>
    /// <param name="folder">The model folder.</param>
    /// <param name="chatTemplate">A file with another template, or <c>chatml</c>, the built-in one; null: the model's own.</param>
    /// <param name="device">Where to compute; null: the CPU.</param>
    /// <param name="longHistory">What becomes of a conversation that does not fit the model.</param>
    /// <param name="batching">How many answers are written at once; null: the defaults.</param>
    /// <exception cref="ChatTemplateException">There is no template, or what is there is not one.</exception>
    /// <inheritdoc cref="TextCompleter.FromPretrained" path="/exception"/>
    public static ChatCompleter FromPretrained(string folder, string? chatTemplate = null, torch.Device? device = null,
        LongHistory longHistory = LongHistory.Refuse, BatchingOptions? batching = null)
    {
        var template = chatTemplate is null ? ChatTemplate.FromFolder(folder) : ChatTemplate.FromFile(chatTemplate, folder);
        return new(TextCompleter.FromPretrained(folder, device, batching), template) { LongHistory = longHistory };
    }

    /// <summary>Makes the prompt of a conversation, and how it is answered.</summary>
    /// <param name="messages">The conversation; the assistant speaks next.</param>
    /// <param name="options">How tokens are chosen; its sampling's number of tokens is not read.</param>
    /// <param name="maxNewTokens">Most tokens of the answer; null: as many as the model has room for, at most
    /// <see cref="DefaultMaxTokens"/>.</param>
    /// <param name="rendering">What else the template is given, such as variables; null: nothing.</param>
    /// <exception cref="ChatTemplateException">The template refuses the conversation or fails.</exception>
    /// <exception cref="ChatTooLongException">Conversation and answer do not fit the model.</exception>
    /// <exception cref="ConfigurationException">A sampling setting is impossible.</exception>
    public ChatPrompt Prepare(IReadOnlyList<ChatMessage> messages, CompletionOptions? options = null, int? maxNewTokens = null,
        ChatRenderOptions? rendering = null)
    {
        options ??= new();
        ConfigurationException.ThrowIfAny([.. (options.Sampling with { MaxNewTokens = maxNewTokens ?? 1 }).Validate()]);
        rendering = (rendering ?? new()) with { AddGenerationPrompt = true };
        int most = completer.MaxTokens, kept = maxNewTokens
            ?? (LongHistory == LongHistory.Refuse ? 1 : Math.Clamp(most / 4, 1, KeptForAnswer));
        var shown = messages;
        while (true)
        {
            int[] ids = completer.Tokenizer.OfRendered(template.Render(shown, rendering));
            if ((long)ids.Length + kept <= most)
            {
                completer.CheckIds(ids, kept);
                int length = maxNewTokens ?? Math.Min(DefaultMaxTokens, most - ids.Length);
                return new(ids, shown, options with
                {
                    Sampling = options.Sampling with { MaxNewTokens = length },
                    Stop = [.. options.Stop, .. End.Stop],
                    StopTokenIds = [.. options.StopTokenIds, .. End.TokenIds],
                });
            }
            shown = (LongHistory == LongHistory.DropOldest ? WithoutOldest(shown) : null) ?? throw new ChatTooLongException(
                $"The {(shown.Count < messages.Count ? "conversation's last message" : "conversation")} has {ids.Length:N0} tokens "
                + $"and the answer may have {kept:N0}, but the model reads at most {most:N0}; shorten one of them.");
        }
    }

    /// <summary>Answers a conversation; each piece comes as soon as it is certain.</summary>
    /// <param name="messages">The conversation; the assistant speaks next.</param>
    /// <param name="options">How tokens are chosen; its sampling's number of tokens is not read.</param>
    /// <param name="maxNewTokens">Most tokens of the answer; null: as many as the model has room for, at most
    /// <see cref="DefaultMaxTokens"/>.</param>
    /// <param name="rendering">What else the template is given, such as variables; null: nothing.</param>
    /// <param name="cancellation">Stops between two tokens.</param>
    /// <inheritdoc cref="Prepare" path="/exception"/>
    public IAsyncEnumerable<CompletionPiece> StreamAsync(IReadOnlyList<ChatMessage> messages, CompletionOptions? options = null,
        int? maxNewTokens = null, ChatRenderOptions? rendering = null, CancellationToken cancellation = default)
    {
        var prompt = Prepare(messages, options, maxNewTokens, rendering);
        return completer.StreamAsync(prompt.Ids, prompt.Options, cancellation);
    }

    /// <summary>Answers a conversation.</summary>
    /// <inheritdoc cref="StreamAsync"/>
    public Task<TextCompletion> CompleteAsync(IReadOnlyList<ChatMessage> messages, CompletionOptions? options = null,
        int? maxNewTokens = null, ChatRenderOptions? rendering = null, CancellationToken cancellation = default)
    {
        var prompt = Prepare(messages, options, maxNewTokens, rendering);
        return completer.CompleteAsync(prompt.Ids, prompt.Options, cancellation);
    }

    /// <inheritdoc/>
    public void Dispose() => completer.Dispose();

    /// <summary>The conversation without its oldest exchange; null where only one is left.</summary>
    private static List<ChatMessage>? WithoutOldest(IReadOnlyList<ChatMessage> messages)
    {
        int first = messages.TakeWhile(m => m.Role is "system" or "developer").Count();
        int next = Enumerable.Range(first + 1, Math.Max(0, messages.Count - first - 1))
            .FirstOrDefault(i => messages[i].Role == "user", -1);
        return next < 0 ? null : [.. messages.Take(first), .. messages.Skip(next)];
    }
}
