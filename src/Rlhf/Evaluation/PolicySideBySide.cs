using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Rewards;
using Rlhf.Tokenizers;

namespace Rlhf.Evaluation;

/// <summary>A reward under the name that reports show.</summary>
public sealed record NamedScorer(string Name, IRewardFunction Reward);

/// <summary>What one scorer thinks of one policy.</summary>
/// <param name="Scorer">The scorer's name.</param>
/// <param name="Score">Scores of the policy's responses.</param>
/// <param name="Gain">Score minus that of the first policy, query by query; null for the first policy.</param>
/// <param name="WinRate">Share of queries that score higher than with the first policy, ties half; null for that one.</param>
public sealed record ScorerResult(string Scorer, SampleStatistics Score, SampleStatistics? Gain, double? WinRate);

/// <summary>One policy among several.</summary>
/// <param name="Policy">The policy's name.</param>
/// <param name="Scores">One result per scorer, in their order.</param>
/// <param name="Samples">Its responses; <see cref="PolicySamples.Rewards"/> are the first scorer's.</param>
public sealed record PolicyResult(string Policy, IReadOnlyList<ScorerResult> Scores, PolicySamples Samples)
{
    /// <summary>How many answers of the first policy the first scorer chose each response from; null where there was no choice.</summary>
    public int? BestOf { get; init; }

    /// <summary>Divergence from the first policy in nats per response; of the best of n answers a bound (<see cref="BestOfN.KlBound"/>).</summary>
    public double Kl => BestOf is { } answers ? BestOfN.KlBound(answers) : Samples.Kl;
}

/// <summary>
/// Several policies answer the same held-out queries with the same random numbers and response lengths, and several scorers
/// judge all of them. A policy may please the reward it was trained on more than any other: look at a scorer that trained none.
/// </summary>
/// <param name="tokenizer">The tokenizer of all policies.</param>
/// <param name="queries">Token ids of the held-out queries; at least one query, none empty.</param>
/// <param name="scorers">At least one scorer.</param>
public sealed class PolicySideBySide(ITokenizer tokenizer, IReadOnlyList<int[]> queries, IReadOnlyList<NamedScorer> scorers)
{
    /// <summary>How responses are sampled.</summary>
    public GenerationConfig Generation { get; init; } = new();

    /// <summary>Most response tokens of each query; null takes <see cref="GenerationConfig.MaxNewTokens"/> for all.</summary>
    public IReadOnlyList<int>? ResponseLengths { get; init; }

    /// <summary>
    /// The first policy comes a second time, in the end: it answers each query so often, and the first scorer chooses. It is what no training is needed
    /// for; 0, the default, leaves it out.
    /// </summary>
    public int BestOf { get; init; }

    /// <summary>Seed of the responses and of the bootstrap intervals.</summary>
    public long Seed { get; init; }

    /// <summary>Lets every policy answer; at most two are in memory at a time.</summary>
    /// <param name="policies">
    /// Names, and what opens the policies; each is disposed. The first is what the others came from: divergence, perplexity and
    /// gains are measured against it.
    /// </param>
    /// <param name="done">Called after each policy with how many are done.</param>
    /// <param name="cancellation">Stops between two tokens or batches.</param>
    /// <exception cref="ArgumentException">There is no policy, scorer or query, a query does not fit a model, the models have
    /// different vocabularies, or <see cref="BestOf"/> is 1 or negative.</exception>
    /// <exception cref="RewardException">A scorer failed, or gave a score that is not finite.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public IReadOnlyList<PolicyResult> Compare(
        IReadOnlyList<(string Name, Func<CausalLM> Open)> policies, Action<int>? done = null,
        CancellationToken cancellation = default)
    {
        if (policies.Count == 0 || scorers.Count == 0)
            throw new ArgumentException(
                $"There are {policies.Count} policies and {scorers.Count} scorers; name at least one each.");
        if (BestOf is 1 or < 0)
            throw new ArgumentException($"BestOf is {BestOf}; it must be 0, or at least 2.");
        var evaluator = new PolicyEvaluator(tokenizer, queries, scorers[0].Reward)
        {
            Generation = Generation,
            ResponseLengths = ResponseLengths,
            Seed = Seed,
        };
        using var reference = policies[0].Open();
        List<(PolicySamples Samples, IReadOnlyList<float>[] Scores)> results = [];
        for (int p = 0; p < policies.Count; p++)
        {
            var samples = p == 0 ? evaluator.Sample(reference, reference, cancellation)
                : Sample(evaluator, policies[p], reference, cancellation);
            results.Add((samples,
                [samples.Rewards, .. scorers.Skip(1).Select(s => s.Reward.ScoreChecked(samples.Completions))]));
            done?.Invoke(p + 1);
        }
        PolicyResult Of(string name, PolicySamples samples, IReadOnlyList<IReadOnlyList<float>> scores, bool isFirst) => new(
            name, [.. scorers.Select((s, i) => Result(s.Name, scores[i], isFirst ? null : results[0].Scores[i]))], samples);
        PolicyResult[] trained = [.. results.Select((r, p) => Of(policies[p].Name, r.Samples, r.Scores, p == 0))];
        if (BestOf == 0)
            return trained;
        var best = Best(evaluator.BestOf(reference, BestOf, cancellation));
        return [.. trained, Of($"best of {BestOf}", best,
            [best.Rewards, .. scorers.Skip(1).Select(s => s.Reward.ScoreChecked(best.Completions))], isFirst: false) with { BestOf = BestOf }];
    }

    private static PolicySamples Best(IReadOnlyList<RankedAnswers> ranked)
    {
        float[][] logprobs = [.. ranked.Select(r => r.Logprobs[r.BestIndex])];
        return new([.. ranked.Select(r => r.Best)], [.. ranked.Select(r => r.Responses[r.BestIndex])], [.. ranked.Select(r => r.BestReward)], null,
            logprobs, logprobs);
    }

    private static PolicySamples Sample(
        PolicyEvaluator evaluator, (string Name, Func<CausalLM> Open) named, CausalLM reference, CancellationToken cancellation)
    {
        using var policy = named.Open();
        if (policy.VocabSize != reference.VocabSize)
            throw new ArgumentException($"{named.Name} has {policy.VocabSize} tokens and the first policy {reference.VocabSize}; "
                + "policies side by side need the same tokenizer.");
        return evaluator.Sample(policy, reference, cancellation);
    }

    private ScorerResult Result(string scorer, IReadOnlyList<float> scores, IReadOnlyList<float>? first)
    {
        var score = SampleStatistics.Of([.. scores.Select(s => (double)s)], Seed);
        if (first is null)
            return new(scorer, score, null, null);
        double[] gains = [.. scores.Zip(first, (s, f) => (double)s - f)];
        return new(scorer, score, SampleStatistics.Of(gains, Seed), gains.Average(g => (Math.Sign(g) + 1) / 2.0));
    }
}
