using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Loop;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Training.RewardModeling;

/// <summary>
/// What a reward model minimizes: cross entropy of labeled texts, or Bradley and Terry's loss of pairs. All examples of a minibatch are of
/// one of the two kinds.
/// </summary>
internal sealed class RewardObjective(SequenceClassifier model, RewardExamples examples, RewardConfig config) : IObjective<RewardExample>
{
    /// <summary>The share of right answers.</summary>
    public const string Accuracy = "accuracy";

    public string Name => "reward";

    public IReadOnlyList<KeyValuePair<string, Parameter>> Trained => model.TrainedParameters;

    public string ModelFile => model.TrainedFile;

    public bool GroupsByLength => true;

    public double Weight(RewardExample example) => 1;

    public int Length(RewardExample example) => example.Length;

    public RewardExample Draw(RewardExample example, RandomStream random) =>
        config.RandomCropProbability > 0 ? example.Crop(config.RandomCropProbability, random) : example;

    public Part ForwardBackward(IReadOnlyList<RewardExample> minibatch, double share)
    {
        using var scope = NewDisposeScope();
        using var mode = model.InMode(training: true);
        using var batch = examples.Pack(minibatch, model.Device);
        var (loss, correct) = Loss(model.Forward(batch), minibatch);
        BackwardPass.Run(() => (loss * share).backward());
        return PartOf(loss, correct, batch);
    }

    public Part Evaluate(IReadOnlyList<RewardExample> minibatch)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var mode = model.InMode(training: false);
        using var batch = examples.Pack(minibatch, model.Device);
        var (loss, correct) = Loss(model.Forward(batch), minibatch);
        return PartOf(loss, correct, batch);
    }

    /// <summary>The summed loss, with gradient, and the number of right answers: both scalars.</summary>
    private (Tensor Loss, Tensor Correct) Loss(Tensor logits, IReadOnlyList<RewardExample> minibatch) =>
        minibatch[0].Rejected is null ? Classification(logits, minibatch) : Preference(logits, minibatch);

    /// <summary>Labeled texts: cross entropy; right is the label with the largest logit.</summary>
    private static (Tensor Loss, Tensor Correct) Classification(Tensor logits, IReadOnlyList<RewardExample> minibatch)
    {
        var labels = tensor(minibatch.Select(e => (long)e.Target).ToArray(), device: logits.device);
        return (RewardLosses.CrossEntropy(logits, labels), logits.argmax(1).eq(labels).sum());
    }

    /// <summary>
    /// Pairs: Bradley and Terry; rows are all chosen texts, then all rejected ones. Right is a higher reward of the chosen text.
    /// </summary>
    private (Tensor Loss, Tensor Correct) Preference(Tensor logits, IReadOnlyList<RewardExample> minibatch)
    {
        var rewards = logits.squeeze(1);
        Tensor chosen = rewards.narrow(0, 0, minibatch.Count), rejected = rewards.narrow(0, minibatch.Count, minibatch.Count);
        var margins = tensor(minibatch.Select(e => (float)e.Target).ToArray(), device: logits.device);
        return (RewardLosses.BradleyTerry(chosen, rejected, margins, config.CenterRewardsCoefficient), chosen.gt(rejected).sum());
    }

    private static Part PartOf(Tensor loss, Tensor correct, PackedBatch batch) => new(loss.cpu().item<float>(), batch.TokenCount)
    {
        Sums = new Dictionary<string, double> { [Accuracy] = correct.cpu().item<long>() },
    };
}
