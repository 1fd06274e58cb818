namespace Rlhf.Training.Ppo;

/// <summary>Sets the weight of the KL penalty from step to step.</summary>
public interface IKlController
{
    /// <summary>The coefficient β that the next step uses.</summary>
    double Value { get; }

    /// <summary>Takes the mean KL per response (nats) of a step of <paramref name="samples"/> samples.</summary>
    void Update(double kl, int samples);

    /// <summary>Continues from a saved coefficient, where it changes at all.</summary>
    void Restore(double value)
    {
    }
}

/// <summary>Raises β when the KL is over its target and lowers it when it is under.</summary>
/// <remarks>
/// Ziegler et al. 2019, section 2.2 (https://arxiv.org/abs/1909.08593); TRL: <c>AdaptiveKLController</c>. As there, β stays positive only
/// while a step has fewer than 5 · horizon samples, which <see cref="PpoConfig"/> demands.
/// </remarks>
public sealed class AdaptiveKlController(double initial, double target, double horizon) : IKlController
{
    /// <summary>Where the relative distance from the target is cut off, of either sign.</summary>
    internal const double LargestError = 0.2;

    /// <inheritdoc/>
    public double Value { get; private set; } = initial;

    /// <inheritdoc/>
    public void Update(double kl, int samples)
    {
        double proportionalError = Math.Clamp(kl / target - 1, -LargestError, LargestError);
        Value *= 1 + proportionalError * samples / horizon;
    }

    /// <inheritdoc/>
    public void Restore(double value) => Value = value;
}

/// <summary>Keeps β as it is.</summary>
public sealed class FixedKlController(double value) : IKlController
{
    /// <inheritdoc/>
    public double Value { get; } = value;

    /// <inheritdoc/>
    public void Update(double kl, int samples)
    {
    }
}
