using Rlhf.Models;
using static TorchSharp.torch;

namespace Rlhf.Training.Checkpoints;

/// <summary>A file of a checkpoint that a trainer's tensors are saved in and restored from.</summary>
/// <param name="Name">Its name in the checkpoint's folder, such as model.safetensors.</param>
/// <param name="Tensors">The trainer's own tensors, by name. Restoring writes into them.</param>
public sealed record StateFile(string Name, IEnumerable<KeyValuePair<string, Tensor>> Tensors)
{
    /// <summary>A whole model's weights.</summary>
    public const string Model = "model.safetensors";

    /// <summary>An adapter's weights, under PEFT's name.</summary>
    public const string Adapter = "adapter_model.safetensors";

    /// <summary>What an optimizer remembers.</summary>
    public const string Optimizer = "optimizer.safetensors";

    /// <summary>
    /// A policy's files: its weights and those of its value head in one; or an adapter's, and the value head beside it.
    /// </summary>
    public static IReadOnlyList<StateFile> Of(CausalLMWithValueHead model)
    {
        var policy = model.PretrainedModel;
        return policy.Adapter is null ? [new(Model, Tensors(model.NamedParameters))]
            : [new(policy.TrainedFile, Tensors(policy.TrainedParameters)), new(Model, Tensors(model.ValueHead))];

        static IEnumerable<KeyValuePair<string, Tensor>> Tensors(IEnumerable<KeyValuePair<string, TorchSharp.Modules.Parameter>> parameters) =>
            parameters.Select(p => KeyValuePair.Create(p.Key, (Tensor)p.Value));
    }
}
