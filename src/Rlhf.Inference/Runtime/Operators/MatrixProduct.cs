using System.Runtime.Intrinsics.X86;
using Rlhf.Runtime.Native;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Runtime.Operators;

/// <summary>The libraries in libtorch that multiply float32 matrices on the CPU.</summary>
public enum MatrixLibrary
{
    /// <summary>What <c>torch.mm</c> takes: MKL on x86, and what the platform has elsewhere.</summary>
    Default,

    /// <summary>oneDNN, which libtorch itself uses for convolutions and bfloat16.</summary>
    OneDnn,
}

/// <summary>What float32 matrices are multiplied in.</summary>
public enum MatrixPrecision
{
    /// <summary>float32.</summary>
    Float32,

    /// <summary>
    /// bfloat16 with sums in float32: autocast. Weights, gradients, moments and everything between the products stay float32. Faster on
    /// GPUs and on CPUs that have instructions for it, and exact to three digits.
    /// </summary>
    Bfloat16,
}

/// <summary>
/// Products of float32 matrices by the faster of libtorch's libraries. MKL leaves the wide registers of processors that are not Intel's
/// unused: on an AMD EPYC with AVX-512 oneDNN was 2.2 times as fast.
/// </summary>
/// <remarks>Shapes: M rows, K inner, N columns. Tensors on other devices or of other types go to libtorch's own product.</remarks>
public static class MatrixProduct
{
    private const string GeluDefinition = """
        def gelu(u: Tensor, tanh: bool) -> Tensor:
          if tanh:
            y = torch.gelu(u, approximate="tanh")
          else:
            y = torch.gelu(u)
          return y

        """;

    private const string OneDnnDefinitions = """
        def product(a: Tensor, b: Tensor, bias: Optional[Tensor]) -> Tensor:
          return ops.mkldnn._linear_pointwise(a, torch.t(b), bias, "none", annotate(List[Optional[number]], []), "")
        def add_product(sum: Tensor, a: Tensor, b: Tensor, bias: Optional[Tensor]) -> Tensor:
          return ops.mkldnn._linear_pointwise(a, sum, torch.t(b), bias, "add")
        def product_gelu(a: Tensor, b: Tensor, bias: Tensor, tanh: bool) -> Tensor:
          if tanh:
            y = ops.mkldnn._linear_pointwise(a, torch.t(b), bias, "gelu", annotate(List[Optional[number]], []), "tanh")
          else:
            y = ops.mkldnn._linear_pointwise(a, torch.t(b), bias, "gelu", annotate(List[Optional[number]], []), "none")
          return y
        def product_by_transposed(a: Tensor, b: Tensor) -> Tensor:
          if torch.gt(torch.size(b, 1), torch.size(b, 0)):
            y = torch.contiguous(torch.t(ops.mkldnn._linear_pointwise(b, a, None, "none", annotate(List[Optional[number]], []), "")))
          else:
            y = ops.mkldnn._linear_pointwise(a, b, None, "none", annotate(List[Optional[number]], []), "")
          return y

        """;

    private const string DefaultDefinitions = """
        def product(a: Tensor, b: Tensor, bias: Optional[Tensor]) -> Tensor:
          if bias is None:
            y = torch.mm(a, b)
          else:
            y = torch.addmm(bias, a, b)
          return y

        """;

    // 15 is bfloat16, 6 float32.
    private const string BFloat16Definitions = """
        def product(a: Tensor, b: Tensor, bias: Optional[Tensor]) -> Tensor:
          y = torch.to(torch.mm(torch.to(a, 15), torch.to(b, 15)), 6)
          if bias is not None:
            y = torch.add_(y, bias)
          return y

        """;

    private const string PlainDefinitions = """
        def add_product(sum: Tensor, a: Tensor, b: Tensor, bias: Optional[Tensor]) -> Tensor:
          return torch.add_(self.product(a, b, bias), sum)
        def product_gelu(a: Tensor, b: Tensor, bias: Tensor, tanh: bool) -> Tensor:
          return self.gelu(self.product(a, b, bias), tanh)
        def product_by_transposed(a: Tensor, b: Tensor) -> Tensor:
          return self.product(a, torch.t(b), None)

        """;

    private static MatrixLibrary? library;

    private static readonly Lazy<OperatorScript> Script = new(() =>
    {
        LibTorch.Initialize();
        return new OperatorScript(Definitions(MatrixLibrary.OneDnn));
    });

    /// <summary>
    /// The library for float32 on the CPU. A rule decides, and not a measurement, so that the same machine always computes the same
    /// numbers: oneDNN on processors with AVX-512 that are not Intel's. The environment variable RLHF_MATMUL (default or onednn)
    /// overrides it.
    /// </summary>
    /// <exception cref="ConfigurationException">The variable has another value.</exception>
    public static MatrixLibrary Library
    {
        get => library ??= Choose(Environment.GetEnvironmentVariable("RLHF_MATMUL"));
        set => library = value;
    }

    /// <summary>
    /// What the products of models' inner layers are computed in; float32 unless it is set. The output layer's logits always are.
    /// </summary>
    public static MatrixPrecision Precision { get; set; }

    /// <summary>a [M, K] · b [K, N], and the bias [N] to each row. Without gradient.</summary>
    /// <param name="a">Left matrix.</param>
    /// <param name="b">Right matrix.</param>
    /// <param name="bias">What to add to each row, or null.</param>
    /// <param name="exact">In float32 whatever <see cref="Precision"/> says.</param>
    public static Tensor Of(Tensor a, Tensor b, Tensor? bias = null, bool exact = false)
    {
        if (!exact && Precision == MatrixPrecision.Bfloat16 && a.dtype == ScalarType.Float32)
        {
            using var scope = NewDisposeScope();
            using var signals = HeldSignals.Begin(); // libtorch multiplies bfloat16 by oneDNN
            var product = a.to(bfloat16).mm(b.to(bfloat16)).to(float32);
            return (bias is null ? product : product.add_(bias)).MoveToOuterDisposeScope();
        }
        if (UsesOneDnn(a))
            return Script.Value.Invoke("product", a, b, bias);
        return bias is null ? a.mm(b) : bias.addmm(a, b);
    }

    /// <summary>
    /// sum [M, N] + a [M, K] · b [K, N], without gradient; null is a sum of nothing. The memory of the sum is reused where the library
    /// can, so that the caller must go on with what it gets.
    /// </summary>
    public static Tensor Accumulate(Tensor? sum, Tensor a, Tensor b) => sum is null ? Of(a, b)
        : Precision == MatrixPrecision.Bfloat16 ? sum.add_(Of(a, b))
        : UsesOneDnn(a) ? Script.Value.Invoke("add_product", sum, a, b, null) : sum.addmm_(a, b);

    /// <summary>x [M, K] · weight [K, N] + bias [N], if any, differentiable: transformers' Conv1D.</summary>
    public static Tensor Conv1D(Tensor x, Tensor weight, Tensor? bias = null) => Affine(x, weight, bias, isTransposed: false);

    /// <summary>x [M, K] · weightᵀ + bias [N], if any, for a weight [N, K], differentiable: torch's Linear.</summary>
    public static Tensor Linear(Tensor x, Tensor weight, Tensor? bias = null) => Affine(x, weight, bias, isTransposed: true);

    private static Tensor Affine(Tensor x, Tensor weight, Tensor? bias, bool isTransposed)
    {
        if (NarrowMatrix.Is(weight, x))
            return NarrowMatrix.Apply(x, weight, bias, isTransposed);
        if (!is_grad_enabled() || !x.requires_grad && !weight.requires_grad && bias is not { requires_grad: true })
            return Of(x, isTransposed ? weight.t() : weight, bias);
        if (!weight.requires_grad && bias is not { requires_grad: true })
            return bias is null ? FrozenFunction.apply(x, weight, isTransposed) : FrozenFunction.apply(x, weight, isTransposed, bias);
        return bias is null ? AffineFunction.apply(x, weight, isTransposed) : AffineFunction.apply(x, weight, isTransposed, bias);
    }

    /// <summary>
    /// For an <see cref="OperatorScript"/>: <c>product(a, b, bias)</c> is a · b and the bias, if any; <c>add_product(sum, a, b, bias)</c>
    /// adds that to a sum, in new memory; <c>gelu(u, tanh)</c> is GELU and
    /// <c>product_gelu(a, b, bias, tanh)</c> that of a product; <c>product_by_transposed(a, b)</c> is a · bᵀ.
    /// </summary>
    internal static string Definitions(MatrixLibrary library, MatrixPrecision precision = MatrixPrecision.Float32) =>
        GeluDefinition + (precision == MatrixPrecision.Bfloat16 ? BFloat16Definitions + PlainDefinitions
        : library == MatrixLibrary.OneDnn ? OneDnnDefinitions
        : DefaultDefinitions + PlainDefinitions);

    internal static MatrixLibrary Choose(string? setting) => setting switch
    {
        "onednn" => MatrixLibrary.OneDnn,
        "default" => MatrixLibrary.Default,
        null or "" => Avx512F.IsSupported && !IsIntel() ? MatrixLibrary.OneDnn : MatrixLibrary.Default,
        _ => throw new ConfigurationException([$"RLHF_MATMUL is '{setting}'; use default or onednn, or leave it unset."]),
    };

    private static bool UsesOneDnn(Tensor x) =>
        Library == MatrixLibrary.OneDnn && x.device_type == DeviceType.CPU && x.dtype == ScalarType.Float32;

    /// <summary>The vendor string of leaf 0 is "GenuineIntel", in the order ebx, edx, ecx.</summary>
    private static bool IsIntel() => X86Base.CpuId(0, 0) is (_, 0x756E6547, 0x6C65746E, 0x49656E69);

    /// <summary>
    /// The gradients of weight and bias, which are leaves, go straight into their <c>grad</c>: autograd would copy what a managed
    /// tensor still refers to.
    /// </summary>
    private sealed class AffineFunction : autograd.SingleTensorFunction<AffineFunction>
    {
        public override string Name => "Affine";

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
        {
            var (x, weight, isTransposed) = ((Tensor)vars[0], (Tensor)vars[1], (bool)vars[2]);
            var bias = vars.Length > 3 ? (Tensor)vars[3] : null;
            ctx.save_for_backward(bias is null ? [x, weight] : [x, weight, bias]);
            ctx.save_data(nameof(isTransposed), isTransposed);
            return Of(x, isTransposed ? weight.t() : weight, bias);
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
        {
            var saved = ctx.get_saved_variables();
            return BackwardPass.Guard(saved[0].requires_grad ? () => saved[0].shape : null, grad_output, inputs: saved.Count + 1,
                () => Gradients(ctx, saved, grad_output));
        }

        private static Tensor? Gradients(autograd.AutogradContext ctx, List<Tensor> saved, Tensor grad_output)
        {
            using var noGrad = no_grad();
            using var scope = NewDisposeScope();
            var (x, weight) = (saved[0], saved[1]);
            bool isTransposed = (bool)ctx.get_data(nameof(isTransposed));
            if (weight.requires_grad)
                weight.grad = isTransposed ? Accumulate(weight.grad, grad_output.t(), x) : Accumulate(weight.grad, x.t(), grad_output);
            if (saved.Count > 2 && saved[2] is { requires_grad: true } bias)
            {
                var gradient = grad_output.sum([0L]);
                bias.grad = bias.grad is { } sum ? sum.add_(gradient) : gradient;
            }
            return x.requires_grad ? Of(grad_output, isTransposed ? weight : weight.t()).MoveToOuterDisposeScope() : null;
        }
    }

    /// <summary>With a weight and bias that need no gradient: nothing of the input is kept.</summary>
    private sealed class FrozenFunction : autograd.SingleTensorFunction<FrozenFunction>
    {
        public override string Name => "FrozenAffine";

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
        {
            var (x, weight, isTransposed) = ((Tensor)vars[0], (Tensor)vars[1], (bool)vars[2]);
            var bias = vars.Length > 3 ? (Tensor)vars[3] : null;
            ctx.save_for_backward([weight]);
            ctx.save_data(nameof(isTransposed), isTransposed);
            ctx.save_data("inputs", vars.Length);
            return Of(x, isTransposed ? weight.t() : weight, bias);
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
        {
            var weight = ctx.get_saved_variables()[0];
            bool isTransposed = (bool)ctx.get_data(nameof(isTransposed));
            return BackwardPass.Guard(() => [grad_output.shape[0], weight.shape[isTransposed ? 1 : 0]], grad_output, (int)ctx.get_data("inputs"), () =>
            {
                using var noGrad = no_grad();
                return Of(grad_output, isTransposed ? weight : weight.t());
            });
        }
    }
}
