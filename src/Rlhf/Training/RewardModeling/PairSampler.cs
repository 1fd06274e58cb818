using System.ComponentModel;
using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers;

namespace Rlhf.Training.RewardModeling;

/// <summary>Which two of several answers make a pair.</summary>
public enum PairSelection
{
    /// <summary>Two at random.</summary>
    Random,

    /// <summary>The best and the worst by a scorer: easier to tell apart, and unlike what a policy meets.</summary>
    BestWorst,
}

/// <summary>Settings of <see cref="PairSampler"/>.</summary>
public sealed record PairSamplingConfig
{
    /// <summary>Answers drawn for each prompt; two of them make its pair.</summary>
    [Description("Answers drawn for each prompt; two of them make its pair.")]
    public int Samples { get; init; } = 2;

    /// <summary>Which two.</summary>
    [Description("Which two: random ones, or the best and the worst by --reward-model.")]
    public PairSelection Select { get; init; }

    /// <summary>Seed of the answers, of their choice and of their order.</summary>
    [Description("Seed of every random choice.")]
    public long Seed { get; init; }

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public IEnumerable<string> Validate()
    {
        if (Samples is < 2 or > 1024) yield return $"Samples is {Samples}; a pair needs at least 2, and 1024 are the most.";
    }
}

/// <summary>What sampling came to.</summary>
/// <param name="Pairs">At most one pair per prompt, in the prompts' order.</param>
/// <param name="PromptsWithoutPair">Prompts whose answers were blank or all the same.</param>
/// <param name="Repeated">Pairs left out because the same prompt and answers had come before.</param>
public sealed record SampledPairs(IReadOnlyList<ResponsePair> Pairs, int PromptsWithoutPair, int Repeated);

/// <summary>Lets a model answer prompts several times and pairs two different answers of each, for somebody to compare.</summary>
/// <remarks>
/// Both answers of a prompt have the same length limit, and chance decides which comes first: neither length nor position may
/// tell a labeler, or a reward model, anything. Everything random is drawn from streams of (seed, prompt), so that the same
/// settings and prompts give the same pairs.
/// </remarks>
/// <param name="model">The model after fine-tuning; it stays the caller's.</param>
/// <param name="tokenizer">Its tokenizer.</param>
/// <param name="config">How many answers, and which two.</param>
public sealed class PairSampler(CausalLM model, ITokenizer tokenizer, PairSamplingConfig config)
{
    private const int RowsAtOnce = 256;

    /// <summary>How answers are sampled.</summary>
    public GenerationConfig Generation { get; init; } = new();

    /// <summary>
    /// Draws the length limit of each prompt's answers; null takes <see cref="GenerationConfig.MaxNewTokens"/> for all.
    /// </summary>
    public LengthSampler? ResponseLengths { get; init; }

    /// <summary>Scores answers for <see cref="PairSelection.BestWorst"/>; otherwise not used.</summary>
    public IRewardFunction? Scorer { get; init; }

    /// <summary>The model's name, noted in each pair.</summary>
    public string? ModelName { get; init; }

    /// <summary>Samples at most one pair for each prompt.</summary>
    /// <param name="prompts">The prompts; each has at least one token.</param>
    /// <param name="progress">Called with the number of prompts done.</param>
    /// <param name="cancellation">Stops between two tokens.</param>
    /// <exception cref="ConfigurationException">Settings are impossible.</exception>
    /// <exception cref="ArgumentException">A prompt is too long for the model, or does not belong to it.</exception>
    /// <exception cref="RewardException">The scorer failed.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public SampledPairs Sample(
        IReadOnlyList<Query> prompts, Action<int>? progress = null, CancellationToken cancellation = default)
    {
        List<string> problems = [.. config.Validate()];
        if (config.Select == PairSelection.BestWorst && Scorer is null)
            problems.Add("Best and worst answers are to be paired, but no scorer is named.");
        ConfigurationException.ThrowIfAny(problems);
        var lengths = ResponseLengths?.Sample(new RandomStream(config.Seed, "pairs/response-length"), prompts.Count);
        var choices = new RandomStream(config.Seed, "pairs/choice");
        var pairs = new List<ResponsePair>();
        var seen = new HashSet<string>();
        int withoutPair = 0, repeated = 0, done = 0;
        foreach (var chunk in Enumerable.Range(0, prompts.Count).Chunk(Math.Max(1, RowsAtOnce / config.Samples)))
        {
            var answers = Score(Answers(prompts, chunk, lengths, cancellation));
            for (int i = 0; i < chunk.Length; i++)
                if (Pair(prompts[chunk[i]].Text, answers[i], choices.Fork(chunk[i])) is not { } pair)
                    withoutPair++;
                else if (seen.Add(pair.Id))
                    pairs.Add(pair);
                else
                    repeated++;
            progress?.Invoke(done += chunk.Length);
        }
        return new(pairs, withoutPair, repeated);
    }

    private readonly record struct Answer(Completion Completion, float Score);

    /// <summary>The different answers to each prompt of a chunk.</summary>
    private Answer[][] Answers(IReadOnlyList<Query> prompts, int[] chunk, int[]? lengths, CancellationToken cancellation)
    {
        int[] rows = [.. chunk.SelectMany(p => Enumerable.Repeat(p, config.Samples))];
        var generated = new TextGenerator(model).Generate([.. rows.Select(p => prompts[p].TokenIds)], Generation,
            lengths is null ? null : [.. rows.Select(p => lengths[p])], new RandomStream(config.Seed, "pairs/responses"),
            (long)chunk[0] * config.Samples, cancellation: cancellation);
        var texts = generated.Responses.Select(ids => tokenizer.TextOfContinuation(ids));
        // Answers that only differ in white space around them cannot be told apart by a reader.
        return [.. texts.Chunk(config.Samples).Select((answers, i) => answers.Where(a => !string.IsNullOrWhiteSpace(a))
            .DistinctBy(a => a.Trim()).Select(a => new Answer(new(prompts[chunk[i]].Text, a), 0)).ToArray())];
    }

    private Answer[][] Score(Answer[][] answers)
    {
        if (config.Select != PairSelection.BestWorst)
            return answers;
        var scores = Scorer!.ScoreChecked([.. answers.SelectMany(a => a.Select(x => x.Completion))]);
        int next = 0;
        return [.. answers.Select(prompt => prompt.Select(a => a with { Score = scores[next++] }).ToArray())];
    }

    private ResponsePair? Pair(string prompt, Answer[] answers, RandomStream random)
    {
        if (answers.Length < 2)
            return null;
        // Two different indices even where all scores are equal: the order is stable.
        var order = config.Select == PairSelection.Random ? random.NextPermutation(answers.Length)
            : [.. Enumerable.Range(0, answers.Length).OrderByDescending(i => answers[i].Score)];
        string a = answers[order[0]].Completion.Response, b = answers[order[^1]].Completion.Response;
        if (random.NextInt32(0, 2) == 1)
            (a, b) = (b, a);
        return new(ResponsePair.IdOf(prompt, a, b), prompt, a, b, ModelName);
    }
}
