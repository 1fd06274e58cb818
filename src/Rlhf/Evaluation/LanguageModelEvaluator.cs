using System.Text;
using Rlhf.Models;
using Rlhf.Tokenizers;

namespace Rlhf.Evaluation;

/// <summary>Perplexity and bits per character of texts under a causal language model.</summary>
/// <remarks>
/// A text begins as in training: after BOS where the tokenizer adds it, else after the end token (which is how GPT-2 marks a new document),
/// so that its first token counts, too.
/// Texts longer than the model's limit are read in windows that overlap by half; every token is scored once, and tokens after the
/// first window see at least half a window before them.
/// </remarks>
public sealed class LanguageModelEvaluator
{
    private const int TextsTogether = 64;

    private readonly CausalLM model;
    private readonly ITokenizer tokenizer;
    private readonly int? startToken;

    /// <summary>An evaluator for a model with the tokenizer of its folder; both stay the caller's.</summary>
    /// <exception cref="ArgumentException">The tokenizer has ids that the model does not know.</exception>
    public LanguageModelEvaluator(CausalLM model, ITokenizer tokenizer)
    {
        (this.model, this.tokenizer) = (model, tokenizer);
        startToken = tokenizer.StartOfText(model.EosTokenId);
        if (startToken >= model.VocabSize)
            throw OutsideVocabulary(startToken.Value);
    }

    private const int LongestDefaultWindow = 1024;

    /// <summary>Longest window in tokens; null takes the model's limit, and at most 1024.</summary>
    public int? MaxLength { get; init; }

    /// <summary>Scores texts; empty texts add nothing.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="progress">Called with the number of texts scored so far.</param>
    /// <param name="cancellation">Stops between two batches.</param>
    /// <exception cref="ArgumentException"><see cref="MaxLength"/> is below 2 or above the model's limit, or a token is not in
    /// its vocabulary.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public LanguageModelScore Evaluate(
        IEnumerable<string> texts, Action<int>? progress = null, CancellationToken cancellation = default)
    {
        int window = MaxLength ?? Math.Min(model.MaxPositions, LongestDefaultWindow);
        if (window < 2 || window > model.MaxPositions)
            throw new ArgumentException(
                $"MaxLength is {window}; it must be from 2 to the model's limit of {model.MaxPositions} tokens.");
        var score = default(LanguageModelScore);
        int done = 0;
        foreach (var some in texts.Chunk(TextsTogether))
        {
            score += Score(some, window, cancellation);
            progress?.Invoke(done += some.Length);
        }
        return score;
    }

    private LanguageModelScore Score(string[] texts, int window, CancellationToken cancellation)
    {
        List<int[]> rows = [];
        List<int> starts = [];
        var score = default(LanguageModelScore);
        foreach (var text in texts)
        {
            var ids = tokenizer.OfPrompt(text);
            int given = PromptTokens.LengthOfBeginning(tokenizer, ids);
            if (ids.Length == given)
                continue;
            CheckIds(ids);
            if (given == 0 && startToken is { } start)
                (ids, given) = ([start, .. ids], 1);
            // Without a start token nothing predicts the first token, and its characters do not count.
            var counted = given == 0 ? tokenizer.DecodeContinuation(ids.Skip(1)) : text;
            int first = Math.Max(1, given);
            score += new LanguageModelScore(
                0, ids.Length - first, counted.EnumerateRunes().Count(), Encoding.UTF8.GetByteCount(counted));
            foreach (var (begin, end, firstScored) in Windows(ids.Length, window, first))
            {
                rows.Add(ids[begin..end]);
                starts.Add(firstScored - begin);
            }
        }
        double nats = -SequenceLogprobs.Of(model, rows, starts, cancellation).Sum(row => row.Sum(l => (double)l));
        return score with { Nats = nats };
    }

    /// <summary>
    /// Windows [Begin, End) over a text of some tokens, and the first token that each of them scores; those before
    /// <paramref name="first"/> are never scored.
    /// </summary>
    internal static IEnumerable<(int Begin, int End, int FirstScored)> Windows(int length, int window, int first = 1)
    {
        int scored = first;
        for (int begin = 0; scored < length; begin = scored - window / 2)
        {
            int end = Math.Min(length, begin + window);
            yield return (begin, end, scored);
            scored = end;
        }
    }

    private void CheckIds(int[] ids)
    {
        foreach (int id in ids)
            if ((uint)id >= (uint)model.VocabSize)
                throw OutsideVocabulary(id);
    }

    private ArgumentException OutsideVocabulary(int id) => new(
        $"The tokenizer has an id {id}, which is outside the model's vocabulary of {model.VocabSize}. " +
        "Does the tokenizer belong to this model?");
}
