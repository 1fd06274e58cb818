using Rlhf.Runtime;
using Rlhf.Runtime.Operators;
using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>Initial values of parameters, the same on every device.</summary>
internal static class InitialWeights
{
    /// <summary>Normal with mean 0, from a stream of the parameter's own.</summary>
    public static void Normal(Tensor parameter, double std, long seed, string name)
    {
        using var generator = new Generator(new RandomStream(seed, "initialize/" + name).NextUInt64());
        using var values = empty(parameter.shape, float32, CPU);
        values.normal_(0, std, generator);
        if (parameter is Int8Parameter matrix)
            matrix.Take(values);
        else
            parameter.copy_(values);
    }

    /// <summary>Uniform in ± bound, likewise.</summary>
    public static void Uniform(Tensor parameter, double bound, long seed, string name)
    {
        using var generator = new Generator(new RandomStream(seed, "initialize/" + name).NextUInt64());
        using var values = empty(parameter.shape, float32, CPU);
        values.uniform_(-bound, bound, generator);
        parameter.copy_(values);
    }
}
