using Rlhf.Data.Batching;
using Rlhf.Models;
using Rlhf.Runtime;
using TorchSharp;

namespace Rlhf.Training.Memory;

/// <summary>What a training on a policy's own answers needs at its peak.</summary>
/// <param name="BatchSize">Answers that are sampled together.</param>
/// <param name="MiniBatchSize">Answers of a pass.</param>
/// <param name="TrainedLayers">Layers that are trained.</param>
/// <param name="Trainable">Parameters that are trained.</param>
/// <param name="ReferenceParameters">Parameters of a reference of its own; 0 without one.</param>
internal sealed record RolloutMemory(int BatchSize, int MiniBatchSize, int TrainedLayers, long Trainable, long ReferenceParameters)
{
    /// <summary>Bytes of keys and values beyond which rows are decoded in turns.</summary>
    private const long CacheBytes = 2L << 30;

    /// <summary>The plan.</summary>
    /// <param name="task">What is to be done with which model.</param>
    /// <param name="policy">The policy.</param>
    /// <param name="scorers">Reward model and judge, where they are models of this process.</param>
    /// <param name="queryLengths">Lengths of queries.</param>
    /// <param name="responseLengths">Lengths of responses.</param>
    /// <param name="plan">Where and how the policy computes.</param>
    /// <param name="remedies">What would need less: sentences that name settings.</param>
    public MemoryPlan Plan(string task, ModelShape policy, IReadOnlyList<ModelShape> scorers, LengthSampler queryLengths, LengthSampler responseLengths,
        ComputePlan plan, string remedies)
    {
        int[] rows = Rows(MiniBatchSize, queryLengths, responseLengths);
        long responses = (long)(MiniBatchSize * Mean(responseLengths));
        long longest = (long)queryLengths.MaxValue + responseLengths.MaxValue - 2;
        long cache = Math.Min(CacheBytes, BatchSize * longest * policy.CacheBytesPerToken());
        MemoryItem[] update =
        [
            MemoryPlan.Activations(policy, rows, plan, training: false, TrainedLayers), MemoryPlan.Backward(policy, rows), MemoryPlan.Logits(policy, responses),
        ];
        MemoryItem[] rollout =
        [
            new("keys and values of the rollout", $"{BatchSize:N0} rows × {longest:N0} tokens × {policy.Layers} layers", cache),
            new("logits of the rollout", $"{BatchSize:N0} rows × {policy.VocabSize:N0}", 2L * BatchSize * policy.VocabSize * MemoryPlan.FloatBytes),
        ];
        return new(task,
        [
            MemoryPlan.Weights("policy", policy.Parameters), .. ReferenceParameters > 0 ? [MemoryPlan.Weights("reference", ReferenceParameters)] : (MemoryItem[])[],
            .. scorers.Select(s => MemoryPlan.Weights("reward model or judge", s.Parameters)), MemoryPlan.Weights("gradients", Trainable),
            MemoryPlan.Moments(Trainable), .. update.Sum(i => i.Bytes) >= rollout.Sum(i => i.Bytes) ? update : rollout, MemoryPlan.Program,
        ],
        remedies);
    }

    /// <summary>Row lengths of a minibatch: one as long as can be, the others of mean length.</summary>
    private static int[] Rows(int count, LengthSampler queries, LengthSampler responses)
    {
        int[] rows = new int[count];
        Array.Fill(rows, (int)Math.Ceiling(Mean(queries) + Mean(responses)));
        rows[0] = queries.MaxValue + responses.MaxValue - 2;
        return rows;
    }

    private static double Mean(LengthSampler lengths) => (lengths.MinValue + lengths.MaxValue - 1) / 2.0;
}
