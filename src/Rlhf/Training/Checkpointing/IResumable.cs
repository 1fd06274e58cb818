using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Training.Optimization;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Training.Checkpointing;

/// <summary>
/// A trainer whose run can be saved between two steps and continued exactly: what it holds beside what its settings, data and
/// first model say. Random choices are functions of the seed and the step, so that they need no place here.
/// </summary>
public interface IResumable
{
    /// <summary>Optimizer or PPO steps taken.</summary>
    long StepCount { get; }

    /// <summary>
    /// False after a step that failed when it had changed weights already: what the trainer holds is then nothing that a run can
    /// go on from. A step that fails before leaves the trainer as it was. True by default.
    /// </summary>
    bool IsBetweenSteps => true;

    /// <summary>All parameters, under the names that the saved model gives them.</summary>
    IEnumerable<KeyValuePair<string, Parameter>> ResumableParameters { get; }

    /// <summary>The optimizer, for its moments.</summary>
    Adam Optimizer { get; }

    /// <summary>The numbers of the run, such as the step, the KL coefficient and running means.</summary>
    JsonNode CaptureState();

    /// <summary>Takes the numbers back.</summary>
    /// <exception cref="JsonException">They are not those of such a trainer.</exception>
    void RestoreState(JsonElement state);
}
