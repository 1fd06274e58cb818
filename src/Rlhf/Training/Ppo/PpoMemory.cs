using Rlhf.Data.Batching;
using Rlhf.Models;
using Rlhf.Training.Memory;
using TorchSharp;

namespace Rlhf.Training.Ppo;

/// <summary>What a PPO run will need of memory at its peak.</summary>
public static class PpoMemory
{
    /// <summary>A PPO run.</summary>
    /// <param name="task">What is to be done with which model.</param>
    /// <param name="config">The settings.</param>
    /// <param name="policy">The policy.</param>
    /// <param name="reference">The reference, where it is another model.</param>
    /// <param name="scorers">Reward model and judge, where they are models of this process.</param>
    /// <param name="queryLengths">Lengths of queries.</param>
    /// <param name="responseLengths">Lengths of responses.</param>
    /// <param name="device">Where the run computes.</param>
    public static MemoryPlan Plan(string task, PpoConfig config, ModelShape policy, ModelShape? reference, IReadOnlyList<ModelShape> scorers,
        LengthSampler queryLengths, LengthSampler responseLengths, torch.Device device)
    {
        int trained = policy.Layers - Math.Min(policy.Layers, config.NumSharedLayers ?? 0);
        // Shared layers and the embeddings are frozen and the reference's, too.
        long trainable = config.NumSharedLayers is null ? policy.Parameters : trained * policy.LayerParameters + 2L * policy.Width;
        long ofReference = reference?.Parameters ?? trainable;
        int[] rows = Rows(config.MiniBatchSize, queryLengths, responseLengths);
        long responses = (long)(config.MiniBatchSize * Mean(responseLengths));
        long longest = (long)queryLengths.MaxValue + responseLengths.MaxValue - 2;
        long cache = Math.Min(2L << 30, config.BatchSize * longest * policy.CacheBytesPerToken());
        MemoryItem[] update =
        [
            MemoryPlan.Activations(policy, rows, device, training: false, trained), MemoryPlan.Backward(policy, rows), MemoryPlan.Logits(policy, responses),
        ];
        MemoryItem[] rollout =
        [
            new("keys and values of the rollout", $"{config.BatchSize:N0} rows × {longest:N0} tokens × {policy.Layers} layers", cache),
            new("logits of the rollout", $"{config.BatchSize:N0} rows × {policy.VocabSize:N0}",
                2L * config.BatchSize * policy.VocabSize * MemoryPlan.FloatBytes),
        ];
        return new(task,
        [
            MemoryPlan.Weights("policy", policy.Parameters), MemoryPlan.Weights("reference", ofReference),
            .. scorers.Select(s => MemoryPlan.Weights("reward model or judge", s.Parameters)), MemoryPlan.Weights("gradients", trainable),
            MemoryPlan.Moments(trainable), .. update.Sum(i => i.Bytes) >= rollout.Sum(i => i.Bytes) ? update : rollout, MemoryPlan.Program,
        ],
        $"Lower MiniBatchSize (now {config.MiniBatchSize}; raise GradientAccumulationSteps by as much), freeze and share lower layers with "
            + "NumSharedLayers, ask for shorter responses, or take a smaller model.");
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
