using TorchSharp;

namespace Rlhf.Rewards;

/// <summary>Makes the reward that a model folder holds.</summary>
public static class AutoReward
{
    /// <summary>A <see cref="RewardModelReward"/> for a model with one label, else a <see cref="ClassifierReward"/>.</summary>
    /// <param name="folder">The model folder, with its tokenizer.</param>
    /// <param name="device">Where the model computes; null is the CPU.</param>
    /// <param name="label">The classifier's label whose logit is the reward; see <see cref="ClassifierReward"/>.</param>
    /// <param name="batchSize">Texts that are computed together.</param>
    /// <exception cref="FileNotFoundException">A file is absent.</exception>
    /// <exception cref="InvalidDataException">A file is malformed, or files do not belong together.</exception>
    /// <exception cref="ArgumentException">The model has no label of that name.</exception>
    public static IRewardFunction FromPretrained(
        string folder, torch.Device? device = null, string? label = null, int batchSize = 16)
    {
        var pipeline = TextClassificationPipeline.FromPretrained(folder, device);
        try
        {
            return pipeline.Model.Labels.Count == 1 && label is null
                ? new RewardModelReward(pipeline.Model, pipeline.Tokenizer) { BatchSize = batchSize }
                : new ClassifierReward(pipeline, label) { BatchSize = batchSize };
        }
        catch
        {
            pipeline.Dispose();
            throw;
        }
    }
}
