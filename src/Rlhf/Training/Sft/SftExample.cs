using Rlhf.Data;
using Rlhf.Models;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Training.Sft;

/// <summary>One sequence to learn.</summary>
/// <param name="Ids">Token ids.</param>
/// <param name="LossStart">The first token that the loss counts; the tokens before it are only read. At
/// least 1, since nothing precedes the first token.</param>
public sealed record SftExample(int[] Ids, int LossStart = 1)
{
    /// <summary>
    /// Which tokens the loss counts, one for each, as the assistant's of a conversation of several turns; null (the default) is those
    /// from <see cref="LossStart"/> on. The first token never counts.
    /// </summary>
    public bool[]? Counts { get; init; }

    /// <summary>Tokens that the loss counts.</summary>
    public int LossTokens => Counts is null ? Math.Max(0, Ids.Length - Math.Max(1, LossStart)) : ToRow().CountedTokens;

    /// <summary>The sequence and which of its tokens the loss counts.</summary>
    public TokenRow ToRow() => Counts is null ? TokenRow.From(Ids, LossStart) : new(Ids, Counts);

    /// <summary>
    /// Joins texts, each followed by the end token, and cuts the stream into sequences of
    /// <paramref name="length"/> tokens; the last may be shorter.
    /// </summary>
    /// <param name="texts">Token ids of each text.</param>
    /// <param name="endToken">Id of the end token.</param>
    /// <param name="length">Tokens per sequence.</param>
    public static IReadOnlyList<SftExample> Pack(IEnumerable<int[]> texts, int endToken, int length)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 2);
        List<SftExample> examples = [];
        var sequence = new int[length];
        int filled = 0;
        void Push(int id)
        {
            sequence[filled++] = id;
            if (filled < length)
                return;
            examples.Add(new SftExample(sequence));
            sequence = new int[length];
            filled = 0;
        }
        foreach (var text in texts)
        {
            foreach (int id in text)
                Push(id);
            Push(endToken);
        }
        if (filled >= 2)
            examples.Add(new SftExample(sequence[..filled]));
        return examples;
    }

    /// <summary>
    /// One sequence per text, ended by the end token and cut to <paramref name="length"/> tokens; texts
    /// without two tokens are left out.
    /// </summary>
    public static IReadOnlyList<SftExample> Truncate(IEnumerable<int[]> texts, int endToken, int length) =>
        texts.Where(t => t.Length > 0).Select(t => new SftExample([.. t.Append(endToken).Take(length)])).ToArray();

    /// <summary>
    /// Prompt and completion, ended by the end token. A sequence that is too long loses the beginning of
    /// its prompt first, then the end of its completion.
    /// </summary>
    /// <param name="prompt">Token ids of the prompt.</param>
    /// <param name="completion">Token ids of the completion.</param>
    /// <param name="endToken">Id of the end token.</param>
    /// <param name="length">Most tokens of a sequence.</param>
    /// <param name="completionOnly">Take the loss on the completion alone.</param>
    public static SftExample FromCompletion(int[] prompt, int[] completion, int endToken, int length, bool completionOnly)
    {
        int[] answer = [.. completion.Append(endToken).Take(length - 1)];
        int[] question = prompt[Math.Max(0, prompt.Length - (length - answer.Length))..];
        return new SftExample([.. question, .. answer], completionOnly ? Math.Max(1, question.Length) : 1);
    }

    /// <summary>
    /// A conversation as the model's chat template writes it; null where the tokens that fit hold none that the loss counts. The template
    /// has written begin and end tokens; none is added. A conversation that is too long loses its end.
    /// </summary>
    /// <param name="conversation">The conversation.</param>
    /// <param name="template">The model's chat template.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="length">Most tokens of a sequence.</param>
    /// <param name="config">Which tokens count: <see cref="SftConfig.AssistantOnlyLoss"/>, and of a prompt with its completion
    /// <see cref="SftConfig.CompletionOnlyLoss"/>.</param>
    /// <exception cref="ChatTemplateException">The template refuses the conversation, or its answers cannot be told apart.</exception>
    public static SftExample? FromConversation(
        Conversation conversation, ChatTemplate template, ITokenizer tokenizer, int length, SftConfig config)
    {
        ArgumentNullException.ThrowIfNull(conversation);
        ArgumentNullException.ThrowIfNull(config);
        try
        {
            return OfConversation(conversation, template, tokenizer, length, config);
        }
        catch (ChatTemplateException e) when (conversation.Place is not null)
        {
            throw new ChatTemplateException($"{conversation.Place}: {e.Message}");
        }
    }

    private static SftExample? OfConversation(
        Conversation conversation, ChatTemplate template, ITokenizer tokenizer, int length, SftConfig config)
    {
        var options = conversation.RenderOptions;
        bool completionOnly = config.CompletionOnlyLoss && conversation.PromptMessages > 0;
        var chat = config.AssistantOnlyLoss || completionOnly
            ? template.Encode(tokenizer, conversation.Messages, options)
            : ChatTokens.Encode(tokenizer, template.Render(conversation.Messages, options), []);
        bool[] counts = config.AssistantOnlyLoss || completionOnly ? chat.FromAssistant : [.. chat.Ids.Select(_ => true)];
        if (completionOnly)
        {
            var prompt = template.Render([.. conversation.Messages.Take(conversation.PromptMessages)], options with { AddGenerationPrompt = true });
            counts.AsSpan(0, chat.Ids.AsSpan().CommonPrefixLength(tokenizer.OfRendered(prompt))).Clear();
        }
        var example = new SftExample([.. chat.Ids.Take(length)]) { Counts = [.. counts.Take(length)] };
        return example.LossTokens > 0 ? example : null;
    }
}
