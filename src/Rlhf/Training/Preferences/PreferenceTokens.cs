using Rlhf.Data;
using Rlhf.Tokenizers;

namespace Rlhf.Training.Preferences;

/// <summary>Turns texts into examples: the same tokens that the model meets when it answers.</summary>
/// <remarks>
/// An answer is never cut, since its end is part of what was judged. What does not fit goes from the beginning of the prompt; where an
/// answer alone does not fit, the example is left out (null).
/// </remarks>
/// <param name="tokenizer">The model's tokenizer.</param>
/// <param name="endTokens">Ids that end an answer; the first one is appended to answers that do not bring one.</param>
/// <param name="config">Lengths, and whether answers are ended.</param>
/// <param name="maxPositions">Most tokens that the model reads.</param>
public sealed class PreferenceTokens(ITokenizer tokenizer, IReadOnlyList<int> endTokens, PreferenceConfig config, int maxPositions)
{
    /// <summary>A pair, or null where it teaches nothing: an answer does not fit, or both are the same.</summary>
    public PairExample? Encode(PreferencePair pair)
    {
        ArgumentNullException.ThrowIfNull(pair);
        int[] chosen = Answer(pair.Chosen, pair.IsRendered), rejected = Answer(pair.Rejected, pair.IsRendered);
        return chosen.AsSpan().SequenceEqual(rejected) || Prompt(pair.Prompt, Math.Max(chosen.Length, rejected.Length)) is not { } prompt
            ? null : new(prompt, chosen, rejected);
    }

    /// <summary>An answer with its label, or null where it does not fit.</summary>
    public AnswerExample? Encode(LabeledAnswer answer)
    {
        ArgumentNullException.ThrowIfNull(answer);
        int[] completion = Answer(answer.Completion, answer.IsRendered);
        return Prompt(answer.Prompt, completion.Length) is { } prompt ? new(prompt, completion, answer.IsDesirable) : null;
    }

    /// <summary>Token ids of an answer, ended once; a chat template has written the end of a turn itself.</summary>
    private int[] Answer(string text, bool isRendered)
    {
        int[] ids = tokenizer.OfContinuation(text);
        return isRendered || !config.AppendEndToken || ids.Length > 0 && endTokens.Contains(ids[^1]) ? ids : [.. ids, endTokens[0]];
    }

    /// <summary>The end of the prompt that fits beside an answer, the template's first tokens kept; null where nothing fits.</summary>
    private int[]? Prompt(string text, int answer)
    {
        int[] ids = tokenizer.OfPrompt(text, otherwise: tokenizer.StartOfText(endTokens[0]));
        int begin = PromptTokens.LengthOfBeginning(tokenizer, ids), room = Math.Min(config.LengthFor(maxPositions) - answer, config.MaxPromptLength ?? int.MaxValue);
        if (answer == 0 || room < begin + 1 && room < ids.Length)
            return null;
        return ids.Length <= room ? ids : [.. ids[..begin], .. ids[^(room - begin)..]];
    }
}
