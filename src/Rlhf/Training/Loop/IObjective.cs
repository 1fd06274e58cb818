using Rlhf.Runtime;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Training.Loop;

/// <summary>
/// What an algorithm minimizes over examples: all that <see cref="EpochTrainer{TExample}"/> has to know of supervised fine-tuning, of
/// reward modeling, or of an algorithm of one's own.
/// </summary>
/// <remarks>
/// A step's loss is the mean over what <see cref="Weight"/> counts (tokens, texts, pairs) of all its minibatches. An objective disposes
/// its tensors itself, and leaves the model in evaluation mode, also when it throws. Random choices are functions of streams and steps,
/// never of state, so that a run can be resumed exactly.
/// </remarks>
/// <typeparam name="TExample">What a minibatch is made of, such as a sequence of tokens or a pair.</typeparam>
public interface IObjective<TExample>
{
    /// <summary>A short name in lower case, such as "sft". It names the run's random streams: another name, another order.</summary>
    string Name { get; }

    /// <summary>
    /// The parameters that a checkpoint holds, under the names of <see cref="ModelFile"/>; those that require a gradient are trained.
    /// </summary>
    IReadOnlyList<KeyValuePair<string, Parameter>> Trained { get; }

    /// <summary>The file of a checkpoint that <see cref="Trained"/> is read from; by default model.safetensors.</summary>
    string ModelFile => Checkpoints.StateFile.Model;

    /// <summary>How much of an example the loss counts: its tokens, or 1. Above 0.</summary>
    double Weight(TExample example);

    /// <summary>Tokens of an example, which decide which examples are computed together.</summary>
    int Length(TExample example);

    /// <summary>
    /// Are minibatches made of examples of similar length? Attention then pads less, but the examples of a minibatch are less of a random
    /// sample. False by default.
    /// </summary>
    bool GroupsByLength => false;

    /// <summary>An example as an epoch sees it, such as a random crop of it; by default as it is.</summary>
    /// <param name="example">The example.</param>
    /// <param name="random">A stream of its own for this example and epoch.</param>
    TExample Draw(TExample example, RandomStream random) => example;

    /// <summary>Refuses examples that cannot be learned; by default none.</summary>
    /// <exception cref="ArgumentException">One cannot; the message says which, and what to do.</exception>
    void Check(IReadOnlyList<TExample> examples)
    {
    }

    /// <summary>Adds <paramref name="share"/> × the gradient of the minibatch's summed loss to the parameters' gradients.</summary>
    /// <param name="minibatch">At least one example.</param>
    /// <param name="share">1 / the weight of all examples of the optimizer step.</param>
    /// <returns>The minibatch's sums, without <paramref name="share"/>.</returns>
    Part ForwardBackward(IReadOnlyList<TExample> minibatch, double share);

    /// <summary>The same sums without gradient and without dropout.</summary>
    /// <param name="minibatch">At least one example.</param>
    Part Evaluate(IReadOnlyList<TExample> minibatch);

    /// <summary>Metrics that follow from the means of a step or an evaluation, such as the difference of two; by default none.</summary>
    /// <param name="means">Means of <see cref="Part.Sums"/>, by name.</param>
    IEnumerable<KeyValuePair<string, double>> Derived(IReadOnlyDictionary<string, double> means) => [];
}

/// <summary>What a minibatch contributes to a step or to an evaluation.</summary>
/// <param name="Loss">Sum of the loss over what <see cref="IObjective{TExample}.Weight"/> counts.</param>
/// <param name="Tokens">Tokens that the model read.</param>
public readonly record struct Part(double Loss, long Tokens)
{
    private static readonly IReadOnlyDictionary<string, double> None = new Dictionary<string, double>();
    private readonly IReadOnlyDictionary<string, double>? sums, counts;

    /// <summary>
    /// Further sums over the same, by the name of their mean, such as "accuracy" with the number of right answers. Reported as
    /// <c>train/NAME</c> and <c>eval/NAME</c>.
    /// </summary>
    public IReadOnlyDictionary<string, double> Sums
    {
        get => sums ?? None;
        init => sums = value;
    }

    /// <summary>
    /// What a sum of <see cref="Sums"/> is divided by, where that is not the weight of all examples: of "rewards/chosen", the number of
    /// chosen answers. A mean over nothing is left out.
    /// </summary>
    public IReadOnlyDictionary<string, double> Counts
    {
        get => counts ?? None;
        init => counts = value;
    }
}
