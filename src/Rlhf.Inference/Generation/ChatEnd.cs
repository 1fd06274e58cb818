using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Generation;

/// <summary>What a chat template writes behind what the assistant says: the end of its turn.</summary>
/// <remarks>
/// A model that was trained with a template ends its turns this way, whether or not its config.json lists the token as an end token. In a
/// vocabulary that does not have the token, its spelling is a stop text.
/// </remarks>
/// <param name="TokenIds">The token that ends a turn; none where the template ends it by a text or not at all.</param>
/// <param name="Stop">The text that ends a turn where no token does; none where a token does, or the model's own end token alone.</param>
public sealed record ChatEnd(IReadOnlyList<int> TokenIds, IReadOnlyList<string> Stop)
{
    private const string Answer = "Yes";

    /// <summary>The end of a template's turns; nothing where the template refuses a plain question and answer.</summary>
    /// <param name="template">The template.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    public static ChatEnd Of(ChatTemplate template, ITokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(template);
        ArgumentNullException.ThrowIfNull(tokenizer);
        string text;
        try
        {
            text = template.Render([new("user", "Is it?"), new("assistant", Answer)]);
        }
        catch (ChatTemplateException)
        {
            return new([], []);
        }
        int said = text.LastIndexOf(Answer, StringComparison.Ordinal);
        string tail = said < 0 ? "" : text[(said + Answer.Length)..].Trim();
        if (tail.Length == 0)
            return new([], []);
        int[] ids = tokenizer.OfRendered(tail);
        bool isToken = ids.Length == 1 || ids.Length > 1 && tokenizer.Decode([ids[0]], skipSpecialTokens: true).Length == 0;
        return isToken ? new([ids[0]], []) : new([], [tail]);
    }
}
