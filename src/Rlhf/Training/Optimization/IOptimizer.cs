using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Training.Optimization;

/// <summary>Turns gradients into updates of parameters. Trainers and checkpoints know nothing else of it.</summary>
public interface IOptimizer : IDisposable
{
    /// <summary>What it trains, by name.</summary>
    IReadOnlyList<KeyValuePair<string, Parameter>> Parameters { get; }

    /// <summary>
    /// Its memory, such as moments and steps, under the names of a checkpoint's optimizer.safetensors. The tensors are the optimizer's own:
    /// a checkpoint that is restored writes into them.
    /// </summary>
    IEnumerable<KeyValuePair<string, Tensor>> State { get; }

    /// <summary>
    /// The norm of all gradients together; scales them down to <paramref name="maxNorm"/> when it is given and they are longer.
    /// </summary>
    double ClipGradients(double? maxNorm);

    /// <summary>Applies the gradients that the parameters hold.</summary>
    void Step(double learningRate);

    /// <summary>Forgets the gradients.</summary>
    void ZeroGradients();
}
