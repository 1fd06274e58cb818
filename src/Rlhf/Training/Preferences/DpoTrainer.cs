using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using Rlhf.Training.Loop;

namespace Rlhf.Training.Preferences;

/// <summary>
/// Direct preference optimization and its kin (<see cref="DpoObjective"/> in the loop of <see cref="EpochTrainer{TExample}"/>): from pairs
/// straight to a policy.
/// </summary>
public sealed class DpoTrainer : EpochTrainer<PairExample>
{
    private readonly DpoObjective objective;
    private readonly DpoConfig config;

    /// <summary>Prepares a training run.</summary>
    /// <param name="model">The policy, trained in place; it stays the caller's.</param>
    /// <param name="config">The settings.</param>
    /// <param name="reference">What the policy is compared with; stays the caller's. Not needed where the settings use none, or all
    /// examples bring its logprobs (<see cref="WithReference"/>).</param>
    /// <exception cref="ConfigurationException">A setting cannot be used.</exception>
    public DpoTrainer(CausalLM model, DpoConfig config, Reference? reference = null)
        : this(new DpoObjective(model, reference, config), config)
    {
    }

    private DpoTrainer(DpoObjective objective, DpoConfig config)
        : base(objective, config) => (this.objective, this.config) = (objective, config);

    /// <summary>Examples with what the reference says of their answers, so that training need not ask it, nor keep it in memory.</summary>
    /// <param name="examples">The pairs.</param>
    /// <param name="reference">The reference.</param>
    /// <param name="batchSize">Pairs that are computed together.</param>
    /// <param name="progress">Called with the number of pairs done.</param>
    /// <param name="cancellation">Stops between two minibatches.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static IReadOnlyList<PairExample> WithReference(IReadOnlyList<PairExample> examples, Reference reference, int batchSize,
        Action<int>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(reference);
        var known = new PairExample[examples.Count];
        int done = 0;
        // Pairs of similar length together: attention pads less.
        foreach (var minibatch in Enumerable.Range(0, examples.Count).OrderBy(i => examples[i].Length).Chunk(batchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            var logps = DpoObjective.ReferenceLogpsOf(reference, [.. minibatch.Select(i => examples[i])]);
            foreach (var (i, of) in minibatch.Zip(logps))
                known[i] = examples[i] with { Reference = of };
            progress?.Invoke(done += minibatch.Length);
        }
        return known;
    }

    /// <summary>The rewards β · (log π(y) - log ρ(y)) that the policy carries itself, of both answers of each pair.</summary>
    /// <param name="heldOut">Pairs, in any order.</param>
    /// <param name="cancellation">Stops between two minibatches.</param>
    /// <returns>Rewards of the chosen and of the rejected answers, in the order of the pairs. Without a reference they are β · log π(y).</returns>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public (float[] Chosen, float[] Rejected) Rewards(IReadOnlyList<PairExample> heldOut, CancellationToken cancellation = default)
    {
        float[] chosen = new float[heldOut.Count], rejected = new float[heldOut.Count];
        foreach (var minibatch in Enumerable.Range(0, heldOut.Count).OrderBy(i => heldOut[i].Length).Chunk(config.BatchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            var rewards = objective.Rewards([.. minibatch.Select(i => heldOut[i])]);
            for (int b = 0; b < minibatch.Length; b++)
                (chosen[minibatch[b]], rejected[minibatch[b]]) = (rewards.Chosen[b], rewards.Rejected[b]);
        }
        return (chosen, rejected);
    }
}
