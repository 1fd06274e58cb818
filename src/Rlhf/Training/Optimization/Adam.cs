using Rlhf.Runtime.Operators;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Training.Optimization;

/// <summary>
/// Adam with decoupled weight decay (AdamW), one native call per group and step: libtorch's fused
/// kernel, reached through TorchScript.
/// </summary>
/// <remarks>Kingma and Ba 2015; Loshchilov and Hutter 2019. PPO uses it without decay, as TRL does.</remarks>
public sealed class Adam : IOptimizer
{
    private const string Script = """
        def adam(p: List[Tensor], g: List[Tensor], m: List[Tensor], v: List[Tensor], t: List[Tensor], lr: float, b1: float, b2: float, d: float, e: float) -> int:
            torch._foreach_add_(t, 1)
            torch._fused_adamw_(p, g, m, v, [], t, lr=lr, beta1=b1, beta2=b2, weight_decay=d, eps=e, amsgrad=False, maximize=False, grad_scale=None, found_inf=None)
            return 0

        def row_norms(x: Tensor) -> Tensor:
            return torch.linalg_vector_norm(torch.reshape(x, [torch.size(x, 0), -1]), 2, [1])

        def norm(g: List[Tensor]) -> Tensor:
            return torch.linalg_vector_norm(torch.cat([row_norms(x) for x in g]), 2)

        def scale(g: List[Tensor], factor: float) -> int:
            torch._foreach_mul_(g, factor)
            return 0
        """;

    // A compilation unit's native handle is never freed: one for the process.
    private static readonly Lazy<jit.CompilationUnit> Compiled = new(() => jit.compile(Script + "\n"));

    /// <summary>
    /// Gradients of at least this many elements keep their memory: holes of that size in the heap are soon filled with other things.
    /// </summary>
    private const long KeptGradient = 16 << 20;

    private readonly Moments[] states;

    /// <summary>Makes the moments, all zero.</summary>
    /// <param name="parameters">What to train, under the names that <see cref="States"/> reports; those
    /// without gradient are left alone.</param>
    /// <param name="weightDecay">Decoupled decay λ: each step also takes lr · λ · parameter away.</param>
    /// <param name="decays">Which parameters decay; null: all matrices.</param>
    /// <param name="beta1">Decay of the first moment.</param>
    /// <param name="beta2">Decay of the second moment.</param>
    /// <param name="epsilon">Added to the root of the second moment.</param>
    /// <exception cref="ArgumentException">All parameters are frozen.</exception>
    public Adam(IEnumerable<KeyValuePair<string, Parameter>> parameters, double weightDecay = 0,
        Func<string, Parameter, bool>? decays = null,
        double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8)
    {
        (Beta1, Beta2, Epsilon, WeightDecay) = (beta1, beta2, epsilon, weightDecay);
        decays ??= (_, p) => p.dim() >= 2;
        states = parameters.Where(p => p.Value.requires_grad).Select(p => new Moments(p.Key, p.Value, decays(p.Key, p.Value)))
            .ToArray();
        if (states.Length == 0)
            throw new ArgumentException("There is no parameter to train: all are frozen.");
    }

    /// <summary>Decay of the first moment.</summary>
    public double Beta1 { get; }

    /// <summary>Decay of the second moment.</summary>
    public double Beta2 { get; }

    /// <summary>Added to the root of the second moment.</summary>
    public double Epsilon { get; }

    /// <summary>Decoupled weight decay.</summary>
    public double WeightDecay { get; }

    /// <summary>The moments of each parameter; the tensors are the optimizer's own.</summary>
    public IReadOnlyList<Moments> States => states;

    /// <inheritdoc/>
    public IReadOnlyList<KeyValuePair<string, Parameter>> Parameters => [.. states.Select(s => KeyValuePair.Create(s.Name, s.Parameter))];

    /// <summary>exp_avg.NAME, exp_avg_sq.NAME and step.NAME of each parameter.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> State => states.SelectMany(s => (KeyValuePair<string, Tensor>[])
        [new("exp_avg." + s.Name, s.FirstMoment), new("exp_avg_sq." + s.Name, s.SecondMoment), new("step." + s.Name, s.Steps)]);

    /// <inheritdoc/>
    public void Step(double learningRate)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        foreach (bool decay in (bool[])[true, false])
        {
            var group = states.Where(s => s.Decays == decay).Select(s => (State: s, Gradient: s.Parameter.grad))
                .Where(s => s.Gradient is not null).ToArray();
            if (group.Length > 0)
                Invoke("adam",
                    group.Select(s => (Tensor)s.State.Parameter).ToArray(), group.Select(s => s.Gradient!).ToArray(),
                    group.Select(s => s.State.FirstMoment).ToArray(), group.Select(s => s.State.SecondMoment).ToArray(),
                    group.Select(s => s.State.Steps).ToArray(), learningRate, Beta1, Beta2, decay ? WeightDecay : 0.0, Epsilon);
        }
    }

    /// <inheritdoc/>
    /// <remarks>torch.nn.utils.clip_grad_norm_: the factor is maxNorm / (norm + 1e-6), at most 1.</remarks>
    public double ClipGradients(double? maxNorm)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var gradients = states.Select(s => s.Parameter.grad).Where(g => g is not null).Select(g => g!).ToArray();
        if (gradients.Length == 0)
            return 0;
        var norm = (double)((Tensor)Invoke("norm", [gradients])!).cpu().item<float>();
        if (maxNorm is { } limit && limit / (norm + 1e-6) is var factor && factor < 1)
            Invoke("scale", gradients, factor);
        return norm;
    }

    /// <summary>
    /// Forgets the gradients: the next backward pass then hands its own tensors over, where zeros would have to be written, read
    /// and added to.
    /// </summary>
    public void ZeroGradients()
    {
        using var scope = NewDisposeScope(); // of the wrapper that zero_ returns
        foreach (var state in states)
        {
            using var gradient = state.Parameter.grad;
            if (gradient is not null && gradient.numel() >= KeptGradient)
                gradient.zero_();
            else
                state.Parameter.grad = null;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var state in states)
            state.Dispose();
    }

    private static object? Invoke(string name, params object?[] arguments) =>
        ScriptArguments.Call(arguments, prepared => Compiled.Value.invoke(name, prepared));

    /// <summary>The optimizer's memory of one parameter.</summary>
    public sealed class Moments : IDisposable
    {
        internal Moments(string name, Parameter parameter, bool decays)
        {
            (Name, Parameter, Decays) = (name, parameter, decays);
            FirstMoment = zeros_like(parameter, requires_grad: false).DetachFromDisposeScope();
            SecondMoment = zeros_like(parameter, requires_grad: false).DetachFromDisposeScope();
            Steps = zeros([], float32, parameter.device).DetachFromDisposeScope();
        }

        /// <summary>The parameter's name.</summary>
        public string Name { get; }

        /// <summary>The parameter.</summary>
        public Parameter Parameter { get; }

        /// <summary>Does weight decay apply to it?</summary>
        public bool Decays { get; }

        /// <summary>Mean of the gradients, in the parameter's shape.</summary>
        public Tensor FirstMoment { get; }

        /// <summary>Mean of the squared gradients, in the parameter's shape.</summary>
        public Tensor SecondMoment { get; }

        /// <summary>Steps taken, a scalar.</summary>
        public Tensor Steps { get; }

        /// <inheritdoc/>
        public void Dispose()
        {
            FirstMoment.Dispose();
            SecondMoment.Dispose();
            Steps.Dispose();
        }
    }
}
