using Rlhf.Data;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers;

namespace Rlhf.Evaluation;

/// <summary>The answers to one prompt with their rewards, in the order in which they were sampled.</summary>
/// <param name="Query">The prompt.</param>
/// <param name="Answers">The answers.</param>
/// <param name="Rewards">The reward of each.</param>
/// <param name="Responses">Token ids of each, the end token included when one was sampled.</param>
/// <param name="Logprobs">For each token of each, its logprob under the policy, in nats.</param>
public sealed record RankedAnswers(
    Query Query, IReadOnlyList<Completion> Answers, IReadOnlyList<float> Rewards, IReadOnlyList<int[]> Responses, IReadOnlyList<float[]> Logprobs)
{
    /// <summary>Index of the best answer; of equal ones the first.</summary>
    public int BestIndex => Enumerable.Range(0, Rewards.Count).MaxBy(i => Rewards[i]);

    /// <summary>The best answer.</summary>
    public Completion Best => Answers[BestIndex];

    /// <summary>Its reward.</summary>
    public float BestReward => Rewards[BestIndex];

    /// <summary>Mean reward: what a single answer may expect.</summary>
    public double MeanReward => Rewards.Average(r => (double)r);
}

/// <summary>
/// Best of n: a policy answers each prompt n times, and the reward chooses. It needs no training, so that it is what trained policies are
/// compared with; and what it keeps is data to fine-tune on (rejection sampling).
/// </summary>
/// <param name="policy">The policy; it stays the caller's.</param>
/// <param name="tokenizer">Its tokenizer.</param>
/// <param name="reward">What chooses; it stays the caller's.</param>
public sealed class BestOfN(CausalLM policy, ITokenizer tokenizer, IRewardFunction reward)
{
    /// <summary>Answers to each prompt; 8 by default.</summary>
    public int Answers { get; init; } = 8;

    /// <summary>How answers are sampled.</summary>
    public GenerationConfig Generation { get; init; } = new();

    /// <summary>Answers that are sampled and scored together; 64 by default.</summary>
    public int BatchSize { get; init; } = 64;

    /// <summary>Most tokens of the answers to each prompt; null takes <see cref="GenerationConfig.MaxNewTokens"/> for all.</summary>
    public IReadOnlyList<int>? ResponseLengths { get; init; }

    /// <summary>Seed of the answers.</summary>
    public long Seed { get; init; }

    /// <summary>
    /// Bound of the divergence of the best of n answers from the policy that wrote them, in nats per answer: log n - (n - 1) / n
    /// (Beirami et al. 2024, Theoretical guarantees on the best-of-n alignment policy). It is reached where no two answers are the same.
    /// </summary>
    /// <param name="answers">n, at least 1.</param>
    public static double KlBound(int answers) => Math.Log(answers) - (answers - 1.0) / answers;

    /// <summary>Answers prompts, one batch after another, in their order.</summary>
    /// <param name="queries">The prompts.</param>
    /// <param name="cancellation">Stops between two tokens, and while the reward is waited for.</param>
    /// <exception cref="ArgumentException">There are fewer than 2 answers to choose from, a prompt does not fit the model, or there is not one
    /// length per prompt.</exception>
    /// <exception cref="RewardException">The reward failed, or gave a score that is not finite.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public IEnumerable<RankedAnswers> Sample(IReadOnlyList<Query> queries, CancellationToken cancellation = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Answers, 2);
        if (ResponseLengths is { } given && given.Count != queries.Count)
            throw new ArgumentException($"There are {given.Count} response lengths for {queries.Count} prompts; give one each.");
        return Batches();

        IEnumerable<RankedAnswers> Batches()
        {
            var generator = new TextGenerator(policy);
            var random = new RandomStream(Seed, "best-of/responses");
            int together = Math.Max(1, BatchSize / Answers);
            for (int start = 0; start < queries.Count; start += together)
            {
                Query[] batch = [.. queries.Skip(start).Take(together)];
                Query[] rows = [.. batch.SelectMany(q => Enumerable.Repeat(q, Answers))];
                int[]? lengths = ResponseLengths is null ? null : [.. ResponseLengths.Skip(start).Take(together).SelectMany(n => Enumerable.Repeat(n, Answers))];
                var generated = generator.Generate([.. rows.Select(q => q.TokenIds)], Generation, lengths, random, (long)start * Answers, cancellation: cancellation);
                Completion[] completions = [.. rows.Zip(generated.Responses, (q, r) =>
                    new Completion(q.Text, tokenizer.TextOfContinuation(r)) { Fields = q.Fields, Messages = q.Messages })];
                var scores = reward.ScoreChecked(completions, cancellation);
                for (int i = 0; i < batch.Length; i++)
                    yield return new(batch[i], completions[(i * Answers)..((i + 1) * Answers)], [.. scores.Skip(i * Answers).Take(Answers)],
                        [.. generated.Responses.Skip(i * Answers).Take(Answers)], [.. generated.Logprobs.Skip(i * Answers).Take(Answers)]);
            }
        }
    }
}
