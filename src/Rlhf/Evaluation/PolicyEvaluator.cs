using Rlhf.Data;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers;

namespace Rlhf.Evaluation;

/// <summary>
/// Lets policies answer the same held-out queries with the same random numbers and response lengths, and has the answers scored.
/// </summary>
/// <param name="tokenizer">The tokenizer of all policies.</param>
/// <param name="queries">The held-out queries, at least one.</param>
/// <param name="reward">The reward that training raises.</param>
/// <param name="judge">A second reward that training never sees; null for none.</param>
public sealed class PolicyEvaluator(
    ITokenizer tokenizer, IReadOnlyList<Query> queries, IRewardFunction reward, IRewardFunction? judge = null)
{
    /// <summary>An evaluator on queries of which only the tokens are known.</summary>
    /// <param name="tokenizer">The tokenizer of all policies.</param>
    /// <param name="queries">Token ids of the held-out queries; at least one query, none empty.</param>
    /// <param name="reward">The reward that training raises.</param>
    /// <param name="judge">A second reward that training never sees; null for none.</param>
    public PolicyEvaluator(ITokenizer tokenizer, IReadOnlyList<int[]> queries, IRewardFunction reward, IRewardFunction? judge = null)
        : this(tokenizer, [.. queries.Select(ids => new Query(ids, tokenizer.Decode(ids, skipSpecialTokens: true)))], reward, judge)
    {
    }

    /// <summary>How responses are sampled.</summary>
    public GenerationConfig Generation { get; init; } = new();

    /// <summary>Most response tokens of each query; null takes <see cref="GenerationConfig.MaxNewTokens"/> for all.</summary>
    public IReadOnlyList<int>? ResponseLengths { get; init; }

    /// <summary>Seed of the responses and of the bootstrap intervals.</summary>
    public long Seed { get; init; }

    /// <summary>Lets a policy answer all queries.</summary>
    /// <param name="policy">The policy.</param>
    /// <param name="reference">What divergence and perplexity are measured against; may be the policy itself.</param>
    /// <param name="cancellation">Stops between two tokens or batches.</param>
    /// <exception cref="ArgumentException">There is no query, or one does not fit the model.</exception>
    /// <exception cref="RewardException">The reward or the judge failed, or gave a score that is not finite.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public PolicySamples Sample(CausalLM policy, CausalLM reference, CancellationToken cancellation = default) =>
        Sample(policy, Reference.To(reference), cancellation);

    /// <summary>The same, where the reference may be the policy with its adapter off.</summary>
    /// <inheritdoc cref="Sample(CausalLM, CausalLM, CancellationToken)"/>
    public PolicySamples Sample(CausalLM policy, Reference reference, CancellationToken cancellation = default)
    {
        RequireQueries();
        GenerationResult generated;
        using (policy.Adapter?.Merged())
            generated = new TextGenerator(policy).Generate([.. queries.Select(q => q.TokenIds)], Generation, ResponseLengths,
                new RandomStream(Seed, "evaluation/responses"), cancellation: cancellation);
        var responses = generated.Responses;
        var texts = queries.Select((query, i) => (int[])[.. query.TokenIds, .. responses[i]]).ToArray();
        IReadOnlyList<float[]> refLogprobs;
        using (reference.AsReference())
            refLogprobs = ReferenceEquals(policy, reference.Model) && !reference.IsPolicy ? generated.Logprobs
                : SequenceLogprobs.Of(reference.Model, texts, [.. queries.Select(q => q.TokenIds.Length)], cancellation);
        var completions = queries.Select((query, i) => new Completion(query.Text, tokenizer.TextOfContinuation(responses[i]))
        {
            Fields = query.Fields,
            Messages = query.Messages,
        }).ToArray();
        return new(completions, responses, reward.ScoreChecked(completions, cancellation), judge?.ScoreChecked(completions, cancellation),
            generated.Logprobs, refLogprobs);
    }

    /// <summary>
    /// Lets a policy answer each query several times, and the reward choose: what needs no training, as a baseline of what was trained.
    /// </summary>
    /// <param name="policy">The policy; with its adapter off where the reference is that.</param>
    /// <param name="answers">Answers to each query, at least 2.</param>
    /// <param name="cancellation">Stops between two tokens or batches.</param>
    /// <exception cref="ArgumentException">There is no query, one does not fit the model, or there are fewer than 2 answers.</exception>
    /// <exception cref="RewardException">The reward failed, or gave a score that is not finite.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public IReadOnlyList<RankedAnswers> BestOf(Reference policy, int answers, CancellationToken cancellation = default)
    {
        RequireQueries();
        using (policy.AsReference())
            return [.. new BestOfN(policy.Model, tokenizer, reward)
            {
                Answers = answers,
                Generation = Generation,
                ResponseLengths = ResponseLengths,
                Seed = Seed,
            }.Sample(queries, cancellation)];
    }

    /// <summary>Compares a policy with what it was before training.</summary>
    /// <param name="before">The policy before training; the reference.</param>
    /// <param name="after">The policy after training.</param>
    /// <param name="cancellation">Stops between two tokens or batches.</param>
    /// <exception cref="ArgumentException">There is no query, one does not fit a model, or the models have different
    /// vocabularies.</exception>
    /// <exception cref="RewardException">The reward or the judge failed, or gave a score that is not finite.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public EvaluationComparison Compare(CausalLM before, CausalLM after, CancellationToken cancellation = default) =>
        Compare(Reference.To(before), after, cancellation);

    /// <summary>The same, where what it was may be the policy with its adapter off (<see cref="Reference.AdaptersOff"/>).</summary>
    /// <inheritdoc cref="Compare(CausalLM, CausalLM, CancellationToken)"/>
    public EvaluationComparison Compare(Reference before, CausalLM after, CancellationToken cancellation = default)
    {
        if (before.Model.VocabSize != after.VocabSize)
            throw new ArgumentException($"The models before and after have {before.Model.VocabSize} and {after.VocabSize} tokens; " +
                "a comparison needs two models with the same tokenizer.");
        PolicySamples first;
        using (before.AsReference())
            first = Sample(before.Model, before.Model, cancellation);
        return EvaluationComparison.Of(first, Sample(after, before, cancellation), Seed);
    }

    private void RequireQueries()
    {
        if (queries.Count == 0)
            throw new ArgumentException("There is no held-out query; evaluation needs at least one.");
    }
}
