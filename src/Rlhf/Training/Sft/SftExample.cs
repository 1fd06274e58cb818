using Rlhf.Models;

namespace Rlhf.Training.Sft;

/// <summary>One sequence to learn.</summary>
/// <param name="Ids">Token ids.</param>
/// <param name="LossStart">The first token that the loss counts; the tokens before it are only read. At
/// least 1, since nothing precedes the first token.</param>
public sealed record SftExample(int[] Ids, int LossStart = 1)
{
    /// <summary>Tokens that the loss counts.</summary>
    public int LossTokens => Math.Max(0, Ids.Length - Math.Max(1, LossStart));

    /// <summary>The sequence and which of its tokens the loss counts.</summary>
    public TokenRow ToRow() => TokenRow.From(Ids, LossStart);

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
}
